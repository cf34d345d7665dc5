//! `/api/v1/openapi.json`: the description of the API, which tests hold against the routes, their fields and their answers.

use crate::http_server::Response;
use crate::scanpush::serve::route::{Answer, Context, Route};
use http::StatusCode;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/openapi.json", description)];

/// The document, which is also part of the documentation.
const DESCRIPTION: &str = include_str!("../../../../docs/openapi.json");

fn description(_: &Context<'_>) -> Answer {
    let content_type = "application/json";
    Ok(Response::new(StatusCode::OK, content_type, DESCRIPTION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Flag;
    use crate::model::State;
    use crate::scanpush::queries::{changes, services};
    use crate::scanpush::sample_store::SampleStore;
    use crate::scanpush::serve::for_tests::{get, site};
    use crate::scanpush::serve::lists::{ADDRESS_PAGING, RECORD_PAGING};
    use crate::scanpush::serve::{
        api, findings_export, network_map, new_scan, server_list, task_list,
    };
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(DESCRIPTION).unwrap()
    }

    fn names<'a>(list: &'a Value, place: &str) -> BTreeSet<&'a str> {
        let list = list.as_array().into_iter().flatten();
        list.filter(|one| one["in"] == place)
            .map(|one| one["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn it_has_exactly_the_routes_of_the_api() {
        let document = document();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                described.insert((method.to_uppercase(), path.clone()));
                let in_path: BTreeSet<&str> = path
                    .split('/')
                    .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
                    .collect();
                assert_eq!(names(&operation["parameters"], "path"), in_path, "{path}");
            }
        }
        let routes: BTreeSet<(String, String)> = api::ROUTES
            .iter()
            .flat_map(|routes| routes.iter())
            .map(|route| (route.method.to_string(), route.pattern.to_owned()))
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn it_has_exactly_the_fields_of_queries() {
        let document = document();
        let of_lists = |filter: &[Flag]| [filter, ADDRESS_PAGING].concat();
        for (path, fields, others) in [
            ("/services", of_lists(services::FILTER), &[][..]),
            ("/changes", of_lists(changes::FILTER), &[]),
            ("/diff", of_lists(&[]), &["a", "b"]),
            ("/hosts/{ip}", vec![], &[]),
            (
                "/tasks",
                [task_list::TASK_FILTER, RECORD_PAGING].concat(),
                &[],
            ),
            ("/tasks/{task_id}", vec![], &[]),
            (
                "/tasks/{task_id}/findings",
                vec![findings_export::FORMAT],
                &[],
            ),
            ("/jobs", RECORD_PAGING.to_vec(), &[]),
            ("/jobs/{job_id}", vec![], &[]),
            (
                "/jobs/{job_id}/findings",
                vec![findings_export::FORMAT],
                &[],
            ),
            ("/statistics", vec![], &[]),
            ("/queue", vec![], &[]),
            ("/servers", server_list::FIELDS.to_vec(), &[]),
            ("/network", network_map::FIELDS.to_vec(), &[]),
        ] {
            let operation = &document["paths"][format!("/api/v1{path}")]["get"];
            let fields = fields.iter().map(Flag::name);
            let expected: BTreeSet<&str> = fields.chain(others.iter().copied()).collect();
            assert_eq!(names(&operation["parameters"], "query"), expected, "{path}");
        }
        let push = &document["paths"]["/api/v1/tasks"]["post"]["requestBody"];
        let properties = &push["content"]["application/json"]["schema"]["properties"];
        let described: BTreeSet<&str> = properties
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            described,
            new_scan::fields().iter().map(Flag::name).collect()
        );
    }

    /// Errs with the place of the first value that is not as the schema says, and of fields that it does not know.
    fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            let target = document.pointer(name.trim_start_matches('#')).unwrap();
            return check(document, target, value, place);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            one => vec![one.clone()],
        };
        let fits = |one: &Value| one == kind || (one == "number" && kind == "integer");
        if !kinds.iter().any(fits) {
            return Err(format!("{place} is {kind}, not {kinds:?}"));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{place} is {value}, not one of {words:?}"));
        }
        for (at, one) in value.as_array().into_iter().flatten().enumerate() {
            check(document, &schema["items"], one, &format!("{place}[{at}]"))?;
        }
        let Some(fields) = value.as_object() else {
            return Ok(());
        };
        for required in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(required.as_str().unwrap()) {
                return Err(format!("{place} lacks {required}"));
            }
        }
        for (name, value) in fields {
            let schema = match &schema["properties"][name] {
                Value::Null => &schema["additionalProperties"],
                schema => schema,
            };
            if schema.is_null() {
                return Err(format!("{place}.{name} is not described"));
            }
            check(document, schema, value, &format!("{place}.{name}"))?;
        }
        Ok(())
    }

    #[test]
    fn answers_are_as_it_says() {
        let mut store = SampleStore::new();
        for (id, at) in [("night-1", 30), ("night-2", 60)] {
            store.push(id, "10.0.0.0/30", "22,80", r#","job_id":"night""#);
            store.find(id, &[("10.0.0.1", 22, at - 5), ("10.0.0.1", 80, at - 4)]);
            store.end(id, State::Completed, 2, 10, at);
        }
        // Nothing listens there.
        let line = [
            "-redis=redis://127.0.0.1:1",
            "-kafka=127.0.0.1:1",
            "-db",
            &store.url(),
        ];
        let site = site(&line);
        site.statistics.count(&site.readers);
        let document = document();
        for (target, path, code) in [
            ("/services", "/services", "200"),
            ("/changes?since=1970-01-01", "/changes", "200"),
            ("/hosts/10.0.0.1", "/hosts/{ip}", "200"),
            ("/diff?a=night-1&b=night-2", "/diff", "200"),
            ("/tasks", "/tasks", "200"),
            ("/tasks/night-1", "/tasks/{task_id}", "200"),
            ("/jobs", "/jobs", "200"),
            ("/jobs/night", "/jobs/{job_id}", "200"),
            ("/statistics", "/statistics", "200"),
            ("/network?net=10.0.0.0/8", "/network", "200"),
            ("/queue", "/queue", "200"),
            ("/servers", "/servers", "200"),
            ("/openapi.json", "/openapi.json", ""),
            ("/tasks?limit=no", "/tasks", "default"),
            ("/hosts/nowhere", "/hosts/{ip}", "default"),
        ] {
            let got = get(&site, &format!("/api/v1{target}"));
            assert_eq!(
                got.status == 200,
                code != "default",
                "{target}: {}",
                got.body
            );
            let responses = &document["paths"][format!("/api/v1{path}")]["get"]["responses"];
            let content = &responses[code]["content"];
            let content_type = got.header("content-type");
            let schema = &content[content_type]["schema"];
            if !code.is_empty() {
                assert!(schema.is_object(), "{target}: {content_type}");
                check(&document, schema, &got.json(), target).unwrap();
            }
        }
    }
}
