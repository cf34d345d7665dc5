//! The form of a push, its confirmation, and sending.
//!
//! **Invariant:** what is sent is what the confirmation showed: its form carries the same fields and the id of the push, from which the ids of the
//! tasks follow. So a form that is sent twice scans nothing twice.

use super::see_other;
use crate::flags::Flag;
use crate::scanpush::push::flags;
use crate::scanpush::serve::fields;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::new_scan::{self, CONFIRMATION, Plan, SCAN_FIELDS};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use askama::Template;
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;

/// `/push` and what is below it.
pub const ROUTES: &[Route] = &[
    Route::read("/push", form),
    Route::change("/push", confirm),
    Route::change("/push/send", send),
];

#[derive(Template)]
#[template(path = "push.html", config = "src/scanpush/serve/askama.toml")]
struct PushPage {
    layout: Layout,
    error: Option<String>,
    fields: Vec<Field>,
    more: Vec<Field>,
    more_is_open: bool,
}

/// The fields that most scans need, in the order of the form.
const FIRST_FIELDS: &[Flag] = &[flags::IP, flags::EXCLUDE, flags::PORTS, flags::BAND_WIDTH];
/// Those below "More options".
const MORE_FIELDS: &[Flag] = &[
    flags::JOB,
    flags::PRIORITY,
    flags::TIMEOUT,
    flags::ATTEMPTS,
    flags::RETRIES,
    flags::WAIT,
    flags::SHARDS,
    flags::PARALLEL,
    flags::PACK,
    flags::ID,
];

/// A field of the form.
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
    default: &'static str,
    hint: String,
    is_required: bool,
    is_wide: bool,
}

#[derive(Template)]
#[template(path = "confirm.html", config = "src/scanpush/serve/askama.toml")]
struct ConfirmPage {
    layout: Layout,
    error: Option<String>,
    size: ShownSize,
    warnings: Vec<String>,
    given: Vec<Field>,
    push_id: String,
    needs_confirmation: bool,
    confirmation: &'static str,
    edit: String,
}

struct ShownSize {
    addresses: String,
    probes: String,
    duration: String,
    rate_pps: u64,
    tasks: usize,
}

/// Fields with their values.
type Values<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The label of a field, and whether it takes a long text.
fn label(flag: &Flag) -> (&'static str, bool) {
    match flag.name() {
        "ip" => ("Targets", true),
        "ports" => ("Ports", false),
        "bandwidth" => ("Packets per second", false),
        "exclude" => ("Leave out", true),
        "priority" => ("Priority", false),
        "retries" => ("Further passes", false),
        "wait" => ("Wait for late answers", false),
        "timeout" => ("Time limit of an attempt", false),
        "attempts" => ("Attempts", false),
        "shards" => ("Shards", false),
        "parallel" => ("Tasks at a time", false),
        "pack" => ("Addresses per task", false),
        "job" => ("Job", false),
        name => (name, false),
    }
}

fn field(flag: &Flag, values: &Values<'_>) -> Field {
    let (label, is_wide) = label(flag);
    let value = values.iter().find(|(name, _)| name == flag.name());
    Field {
        name: flag.name(),
        label: if label == "id" { "Id" } else { label },
        value: value.map_or(String::new(), |(_, value)| value.to_string()),
        default: flag.default().unwrap_or_default(),
        hint: hint(flag).to_owned(),
        is_required: flag.is_required() || flag.name() == flags::IP.name(),
        is_wide,
    }
}

/// What a field means, in the words of a form: the help of the command speaks of other flags and of files.
fn hint(flag: &Flag) -> &'static str {
    match flag.name() {
        "ip" => {
            "Addresses, blocks like 10.1.0.0/16 and ranges like 10.0.0.1-10.0.0.99, separated by commas or lines"
        }
        "exclude" => "Addresses, blocks and ranges of the targets that are not scanned",
        "ports" => "TCP ports like 80,443,8000-8100; after U: they are UDP, after S: SCTP",
        "bandwidth" => {
            "Of each task, like 800, 10k or 1.5m; of all tasks together with shards or tasks at a time"
        }
        "job" => "A name for all tasks of this scan; empty: a random one if there are several",
        "priority" => "0 to 9, higher priorities run first",
        "timeout" => "Like 90s, 30m, 2h or 1d; an attempt that takes longer fails; empty: no limit",
        "attempts" => "1 to 100: how often a task is tried before it fails",
        "retries" => "0 to 16: how many more times each address and port is probed",
        "wait" => "Seconds after the last probe, 0 to 600",
        "shards" => "1 to 10000: divides the probes among this many tasks, in random order",
        "parallel" => "How many tasks of this scan may run at once on all servers; empty: no limit",
        "pack" => "Combines small targets into tasks of up to this many addresses",
        "id" => {
            "Of a single task: sent again with the same id, it is not scanned again; empty: a random one"
        }
        _ => flag.help(),
    }
}

/// The fields of the form. Lines of a list count as its entries.
fn values_of<'a>(context: &'a Context<'_>) -> Values<'a> {
    let is_list = |name: &str| ["ip", "ports", "exclude"].contains(&name);
    let fields = context.request.form_fields();
    fields
        .map(
            |(name, value)| match is_list(&name) && value.contains('\n') {
                true => {
                    let entries = value.lines().map(|line| line.trim().trim_end_matches(','));
                    let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
                    (name, Cow::Owned(entries.join(",")))
                }
                false => (name, value),
            },
        )
        .collect()
}

fn form(context: &Context<'_>) -> Answer {
    if context.site.options.read_only {
        return Err(Problem::forbidden(
            "this server was started with -read-only",
        ));
    }
    if !context.user.may_change {
        return Err(Problem::forbidden("you may read, but change nothing"));
    }
    let values: Values<'_> = context.request.query_fields().collect();
    Ok(form_page(context, &values, None))
}

fn form_page(
    context: &Context<'_>,
    values: &Values<'_>,
    error: Option<Problem>,
) -> crate::http_server::Response {
    let fields = |flags: &[Flag]| flags.iter().map(|flag| field(flag, values)).collect();
    let more: Vec<Field> = fields(MORE_FIELDS);
    let mut response = page(&PushPage {
        layout: Layout::new(context, "New scan", "/push"),
        fields: fields(FIRST_FIELDS),
        more_is_open: more.iter().any(|field| !field.value.is_empty()),
        more,
        error: error.as_ref().map(|problem| problem.detail.clone()),
    });
    response.status = error.map_or(StatusCode::OK, |problem| problem.status);
    response
}

/// The plan of the fields of the form.
fn plan(values: &Values<'_>) -> Result<Plan, Problem> {
    fields::reader(values.iter().cloned(), &new_scan::fields()).and_then(Plan::read)
}

fn confirm(context: &Context<'_>) -> Answer {
    let values = values_of(context);
    match plan(&values) {
        Ok(plan) => Ok(confirm_page(context, &values, &plan, None)),
        Err(problem) => Ok(form_page(context, &values, Some(problem))),
    }
}

fn confirm_page(
    context: &Context<'_>,
    values: &Values<'_>,
    plan: &Plan,
    error: Option<Problem>,
) -> crate::http_server::Response {
    let given = SCAN_FIELDS.iter().map(|flag| field(flag, values));
    let given: Vec<Field> = given.filter(|field| !field.value.is_empty()).collect();
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given.iter().map(|field| (field.name, &field.value)))
        .finish();
    let mut response = page(&ConfirmPage {
        layout: Layout::new(context, "New scan: confirm", "/push"),
        size: ShownSize {
            addresses: grouped(plan.size.addresses),
            probes: grouped(plan.size.probes),
            duration: plan.size.duration(),
            rate_pps: plan.size.rate_pps,
            tasks: plan.tasks.len(),
        },
        warnings: plan.warnings.clone(),
        given,
        push_id: plan.push_id.to_string(),
        needs_confirmation: plan.needs_confirmation(),
        confirmation: CONFIRMATION,
        edit: format!("/push?{query}"),
        error: error.as_ref().map(|problem| problem.detail.clone()),
    });
    response.status = error.map_or(StatusCode::OK, |problem| problem.status);
    response
}

fn send(context: &Context<'_>) -> Answer {
    let values = values_of(context);
    let plan = match plan(&values) {
        Ok(plan) => plan,
        Err(problem) => return Ok(form_page(context, &values, Some(problem))),
    };
    if let Err(problem) = plan.send(context) {
        return Ok(confirm_page(context, &values, &plan, Some(problem)));
    }
    let place = plan.place().unwrap_or_else(|| "/tasks".to_owned());
    let place = HeaderValue::from_str(&format!("{place}?result=sent"))
        .map_err(|_| Problem::not_found("no such page"))?;
    Ok(see_other(place))
}

/// A number with thin spaces between groups of three digits.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{2009}000"),
            (16_777_216, "16\u{2009}777\u{2009}216"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn every_field_has_a_label_and_a_hint() {
        for flag in SCAN_FIELDS {
            let field = field(flag, &Vec::new());
            assert!(
                field.label.starts_with(char::is_uppercase),
                "{}",
                field.name
            );
            assert!(!field.hint.contains(" -"), "{}", field.hint);
            assert!(
                field.hint.starts_with(char::is_uppercase)
                    || field.hint.starts_with(char::is_numeric)
            );
            let is_this = |other: &&Flag| other.name() == flag.name();
            let places = FIRST_FIELDS.iter().chain(MORE_FIELDS).filter(is_this);
            assert_eq!(places.count(), 1, "{}", field.name);
        }
    }
}
