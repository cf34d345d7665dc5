//! How a claim ends in the claim table, on a real Redis without servers.

use crate::support::Fleet;
use crate::{Needs, Test};
use scan::claim_table::{
    Beginning, ClaimState, ClaimTable, Disposition, Ending, Ingest, Ingested, NewTask, Past, Start,
};
use scan::model::{Extent, FoundByPass, Lineage, Resume, State, Task, TaskId};
use std::time::Duration;

pub const TESTS: &[Test] = &[(
    "an_end_recorded_in_kafka_is_accepted_after_redis_is_rebuilt",
    Needs::KafkaAndRedis,
    end_after_rebuild,
)];

const LEASE: Duration = Duration::from_secs(60);
const FENCE: u64 = 7_000_000;

fn ingest(claim_table: &mut ClaimTable, id: &TaskId, disposition: Disposition) {
    let beginning = Beginning {
        from: 0,
        log_end: 1,
        epoch: "epoch",
        start: Start::Missing,
        lost_records: 0,
    };
    assert!(claim_table.begin(0, &beginning).unwrap());
    let cursor = claim_table.cursors(&[0]).unwrap()[&0].clone().unwrap();
    let task = Task::new(
        id.clone(),
        "172.16.0.0/24".parse().unwrap(),
        "443".parse().unwrap(),
        Default::default(),
    );
    let ingested = claim_table.ingest(&Ingest {
        partition: 0,
        cursor: &cursor,
        next: 1,
        last: None,
        lost_records: 0,
        server: "a",
        lease: LEASE,
        refusals_max: u32::MAX,
        tasks: &[NewTask {
            offset: 0,
            task_id: id.clone(),
            record_id: TaskId::of_record(0, 0),
            task: Some(task),
            disposition,
        }],
    });
    assert!(matches!(ingested, Ok(Ingested::Done(_))), "{ingested:?}");
}

/// Redis is lost between `decide_end` and `finish`, while the terminal record is being sent. The rebuild restores the claim as running, without
/// the decided end.
fn end_after_rebuild() {
    let fleet = Fleet::new("end-after-rebuild");
    let mut claim_table = fleet.claim_table();
    let id: TaskId = "a".parse().unwrap();
    let held = Disposition::Held {
        server: "a".to_owned(),
        past: Past {
            attempt: 1,
            fence: FENCE,
            ..Past::default()
        },
    };
    ingest(&mut claim_table, &id, held);
    let ending = Ending {
        task_id: id.clone(),
        lineage: Lineage {
            attempt: 1,
            fence: FENCE,
            ..Lineage::default()
        },
        status: State::Completed,
        error: None,
        found: FoundByPass::default().with(1, 256),
        resume: Resume::default(),
        extent: Extent::default(),
    };
    assert_eq!(claim_table.finish(&ending).unwrap(), ClaimState::Ok);
    let task = claim_table.task(&id).unwrap().unwrap();
    assert_eq!((task.status, task.found), (State::Completed, 256));
    assert_eq!(
        claim_table.positions(&[0]).unwrap()[&0].committable,
        Some(1)
    );
    assert_eq!(
        claim_table.finish(&ending).unwrap(),
        ClaimState::Ok,
        "sent twice"
    );
}
