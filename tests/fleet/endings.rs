//! How a claim ends in the claim table, step by step: the ledger alone, on the real Redis, without servers.

use crate::support::Fleet;
use crate::{Needs, Test};
use scan::claim_table::{
    Beginning, ClaimState, ClaimTable, Disposition, Ending, Ingest, Ingested, NewTask, Past,
};
use scan::model::{FoundByPass, Lineage, Resume, State, Task, TaskId};
use std::time::Duration;

pub const TESTS: &[Test] = &[(
    "an_end_that_kafka_knows_is_accepted_by_a_rebuilt_redis",
    Needs::Servers,
    end_after_rebuild,
)];

const LEASE: Duration = Duration::from_secs(60);
const FENCE: u64 = 7_000_000;

fn ingest(ledger: &mut ClaimTable, id: &TaskId, disposition: Disposition) {
    let beginning = Beginning {
        from: 0,
        log_end: 1,
        epoch: "epoch",
        replaces: None,
        lost_records: 0,
    };
    assert!(ledger.begin(0, &beginning).unwrap());
    let cursor = ledger.cursors(&[0]).unwrap()[&0].clone().unwrap();
    let task = Task::new(
        id.clone(),
        "172.16.0.0/24".parse().unwrap(),
        "443".parse().unwrap(),
        Default::default(),
    );
    let ingested = ledger.ingest(&Ingest {
        partition: 0,
        cursor: &cursor,
        next: 1,
        last: None,
        lost_records: 0,
        server: "a",
        lease: LEASE,
        tasks: &[NewTask {
            offset: 0,
            task_id: id.clone(),
            task: Some(task),
            disposition,
        }],
    });
    assert!(matches!(ingested, Ok(Ingested::Done(_))), "{ingested:?}");
}

/// Redis is lost between the verdict and the finish, when the terminal record is on its way: the rebuild finds the task
/// running and brings the claim back without the verdict.
fn end_after_rebuild() {
    let fleet = Fleet::new("end-after-rebuild");
    let mut ledger = fleet.claim_table();
    let id: TaskId = "a".parse().unwrap();
    let held = Disposition::Held {
        server: "a".to_owned(),
        fence: FENCE,
        past: Past {
            attempt: 1,
            ..Past::default()
        },
    };
    ingest(&mut ledger, &id, held);
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
    };
    assert_eq!(ledger.finish(&ending).unwrap(), ClaimState::Ok);
    let task = ledger.task(&id).unwrap().unwrap();
    assert_eq!((task.status, task.found), (State::Completed, 256));
    assert_eq!(ledger.committable(&[0]).unwrap()[&0], 1);
    assert_eq!(
        ledger.finish(&ending).unwrap(),
        ClaimState::Ok,
        "sent twice"
    );
}
