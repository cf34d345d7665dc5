//! Tests of the loop's decisions, with a script in masscan's place. The pure parts have their tables in their own files.

use super::*;
use crate::claim_table::Claimed;
use crate::masscan::script::install_script;
use crate::model::ports::Proto;
use crate::model::{Finding, Lineage, Task};
use crate::scand::claims::budget::Budget;
use crate::scand::options::{Request, parse};
use crossbeam_channel::{bounded, unbounded};
use std::ffi::OsStr;
use std::path::Path;

const LEASE: Duration = Duration::from_secs(60);

/// What one scan needs around it.
struct Server {
    scans: Scans,
    outlets: Outlets,
    _folder: tempfile::TempDir,
}

fn options_of(program: &Path) -> Options {
    let words = [OsStr::new("-masscan"), program.as_os_str()];
    match parse(words.map(OsStr::to_owned).to_vec()) {
        Ok(Request::Run(options)) => *options,
        other => panic!("{other:?}"),
    }
}

impl Server {
    /// With a masscan whose scans do what the shell script `scan` says.
    fn with_masscan(scan: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("masscan");
        // Asked for its version or a list of probes, it answers at once.
        let version = "[ \"$1\" = -oD ] || exec echo 'Masscan version 1.3.2 ('";
        install_script(&program, &format!("{version}\n{scan}"));
        let scans = Scans {
            server: "a".to_owned(),
            options: options_of(&program),
            health: Arc::default(),
            metrics: Arc::default(),
            masscan: Arc::new(MasscanBinary::new(&program)),
            held_claims: Arc::default(),
            buffer: Arc::new(FindingsBuffer::new(1 << 20)),
            scope: Arc::new(ScopeInForce::default()),
            small_output_warning: Once::new(),
            last_run_as_line: Mutex::default(),
            offloads: Offloads::new(Path::new("masscan"), None),
        };
        let outlets = Outlets {
            publish: unbounded().0,
            progress: bounded(1).0,
            finalize: unbounded().0,
            source: Source::default(),
        };
        Server {
            scans,
            outlets,
            _folder: folder,
        }
    }

    fn scan(&self) -> Scan<'_> {
        let task = Task::new(
            "a".parse().unwrap(),
            "172.16.0.0/24".parse().unwrap(),
            "443".parse().unwrap(),
            Default::default(),
        );
        let claimed = Claimed {
            task,
            lineage: Lineage::unclaimed(0, 0),
            resume: Resume::default(),
            begun_ms: Some(1),
            waited: None,
        };
        let (held_claim, orders) =
            self.scans
                .held_claims
                .take(&claimed.claim(), Instant::now(), LEASE);
        let permit = Budget::new(1, 1000, unbounded().0).take(100);
        let assignment = Assignment {
            claimed,
            held_claim,
            orders,
            permit,
            denied: Default::default(),
            scope_changes: self.scans.scope.changes(),
        };
        Scan::new(&self.scans, &self.outlets, assignment)
    }
}

impl Scan<'_> {
    /// Makes it believe that its loop has not run for too long.
    fn stand_still(&mut self) {
        self.last_ran -= STANDSTILL_MIN;
    }
}

fn stage(phase: &Phase) -> &Stage {
    match phase {
        Phase::Scanning(running) => &running.stage,
        _ => panic!("masscan does not run"),
    }
}

#[test]
fn an_order_that_arrives_with_a_standstill_is_carried_out() {
    let server = Server::with_masscan("sleep 600");
    let mut scan = server.scan();
    let phase = scan.on_announcing(never(), Event::Announced(true));
    assert_eq!(stage(&phase), &Stage::Starting);
    scan.stand_still();
    let phase = scan.handle(phase, Event::Order(Order::Lost));
    let reason = StopReason::Ordered(Order::Lost);
    assert_eq!(stage(&phase), &Stage::Ending { reason });
}

#[test]
fn findings_that_arrive_with_a_standstill_are_kept() {
    let server = Server::with_masscan("sleep 600");
    let mut scan = server.scan();
    let phase = scan.on_announcing(never(), Event::Announced(true));
    scan.stand_still();
    let finding = Finding {
        ip: "172.16.0.1".parse().unwrap(),
        port: 443,
        proto: Proto::Tcp,
        status: "open".parse().unwrap(),
        reason: "syn-ack".parse().unwrap(),
        ttl: 64,
        timestamp: 1,
    };
    let phase = scan.handle(phase, Event::Output(Output::Findings(vec![finding])));
    assert!(matches!(
        stage(&phase),
        Stage::Ending {
            reason: StopReason::Standstill(_)
        }
    ));
    assert_eq!(scan.findings.printed(), 1);
}
