//! The field at the top of every page: goes to the address, network, task or job that was typed.

use super::see_other;
use crate::flags::Flag;
use crate::model::targets::AddressRange;
use crate::model::{Ports, Targets, TaskId};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links;
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use askama::Template;
use http::{HeaderValue, StatusCode};

/// `/find`
pub const ROUTES: &[Route] = &[Route::read("/find", find)];

const Q: Flag = Flag::optional(
    "--q",
    "TEXT",
    "an address, a network, a port, a tag, or the beginning of the id of a task or job",
);

/// Tasks, and jobs, that are listed.
const FOUND_MAX: usize = 50;

#[derive(Template)]
#[template(path = "find.html", config = "src/scanpush/serve/askama.toml")]
struct FindPage {
    layout: Layout,
    text: String,
    /// Kinds, names and addresses of what was found.
    found: Vec<Found>,
    /// There are others.
    is_cut: bool,
}

/// A page that the text may mean.
struct Found {
    kind: &'static str,
    name: String,
    href: String,
}

fn find(context: &Context<'_>) -> Answer {
    let mut reader = context.query(&[Q])?;
    let text = reader.optional(&Q, |text| Ok(text.trim().to_owned()))?;
    let text = text.unwrap_or_default();
    if let Some(href) = addresses(&text) {
        return to(&href);
    }
    let (mut found, is_cut) = ids(context, &text)?;
    if found.is_empty() {
        found.extend(tag_or_port(context, &text).map(|href| Found {
            kind: "services",
            name: text.clone(),
            href,
        }));
    }
    if let [only] = &found[..] {
        return to(&only.href);
    }
    let is_unknown = found.is_empty() && !text.is_empty();
    let mut response = page(&FindPage {
        layout: Layout::new(context, "Find", ""),
        text,
        found,
        is_cut,
    });
    if is_unknown {
        response.status = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

fn to(href: &str) -> Answer {
    let location = HeaderValue::from_str(href)
        .map_err(|_| Problem::bad_request("this cannot be an address of a page"))?;
    Ok(see_other(location))
}

/// The page of an address, or of the services of addresses.
fn addresses(text: &str) -> Option<String> {
    match text.parse::<AddressRange>() {
        Ok(range) if range.first() == range.last() => Some(links::host(range.first())),
        _ => {
            text.parse::<Targets>().ok()?;
            Some(links::query("/services", [("net", text)]))
        }
    }
}

/// The tasks and jobs with this id, or else those whose ids begin with it. The second value says whether there are more.
fn ids(context: &Context<'_>, text: &str) -> Result<(Vec<Found>, bool), Problem> {
    let Ok(id) = text.parse::<TaskId>() else {
        return Ok((Vec::new(), false));
    };
    let (live, _) = context.site.live.latest();
    let running = live.running.iter().map(|task| &task.task_id);
    let running: Vec<TaskId> = running
        .filter(|id| id.starts_with(text))
        .filter_map(|id| id.parse().ok())
        .collect();
    let asked = context.site.readers.ask(|store| {
        let is_task = store.task(&id)?.is_some();
        let is_job = store.job(&id)?.is_some();
        if is_task || is_job {
            let only = |is_known: bool| is_known.then(|| id.clone()).into_iter().collect();
            return Ok((only(is_task), only(is_job)));
        }
        Ok((store.tasks_beginning(text)?, store.jobs_beginning(text)?))
    });
    let (mut tasks, jobs): (Vec<TaskId>, Vec<TaskId>) = match asked {
        Ok(found) => found,
        Err(problem) if running.is_empty() => return Err(problem),
        Err(_) => Default::default(),
    };
    // The database may not know yet what runs.
    if !tasks.contains(&id) && !jobs.contains(&id) {
        tasks.extend(running);
        tasks.sort();
        tasks.dedup();
    }
    let is_cut = tasks.len() > FOUND_MAX || jobs.len() > FOUND_MAX;
    let jobs = jobs.iter().take(FOUND_MAX).map(|id| Found {
        kind: "job",
        name: id.to_string(),
        href: links::job(id.as_str()),
    });
    let tasks = tasks.iter().take(FOUND_MAX).map(|id| Found {
        kind: "task",
        name: id.to_string(),
        href: links::task(id.as_str()),
    });
    Ok((jobs.chain(tasks).collect(), is_cut))
}

/// The services with a tag, or those of a port that are open.
fn tag_or_port(context: &Context<'_>, text: &str) -> Option<String> {
    let tags = context.site.options.tags.as_ref();
    if tags.is_some_and(|tags| tags.names().any(|name| name == text)) {
        return Some(links::query("/services", [("tag", text)]));
    }
    text.parse::<Ports>().ok()?;
    Some(links::query(
        "/services",
        [("port", text), ("state", "open")],
    ))
}
