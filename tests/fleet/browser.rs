//! The web page in a real Chromium.

use crate::support::{Browser, FindingsDb, Fleet};
use crate::{Needs, Test};

pub const TESTS: &[Test] = &[(
    "the_frame_of_the_page_fits_every_width_and_breaks_no_rule_of_the_browser",
    Needs::Browser,
    frame,
)];

fn frame() {
    let fleet = Fleet::new("frame");
    let serve = fleet.start_serve("serve", &FindingsDb::file(&fleet, "web"), &[]);
    let browser = Browser::start(&fleet.folder);
    for (width, scheme) in [(390, "light"), (1440, "dark")] {
        browser.set_size(width, 900);
        browser.set_colors(scheme);
        browser.open(&serve.url("/servers"));
        browser.wait_for_text("No server of the group");
        assert_eq!(browser.overflow(), 0, "{width}");
    }
    let controls = browser.controls();
    assert!(controls.len() > 8, "{controls:?}");
    assert!(
        controls.iter().all(|(_, name)| !name.is_empty()),
        "{controls:?}"
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
