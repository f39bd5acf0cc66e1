//! Impact analysis: what other policies would have done, in numbers and examples. Knows groups and layout.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::json;

use super::work::{Item, each_batch, side_by_side};
use super::{FailOn, ReplayArgs};
use crate::cli::Exit;
use crate::cli::decisions::output::{Output, csv_row};
use crate::cli::decisions::{object, plain, resource};
use crate::cli::style::Style;
use crate::decisions::replay::{
    AuditAnswer, AuditRequests, AuditedRequest, Candidate, Change, ChangeKind, Judge, Pairs,
};

/// Groups of one kind that are counted apart; what is beyond counts as `(others)`.
const MOST_GROUPS: usize = 10_000;

/// Lines of a group that the table shows.
const SHOWN: usize = 10;

/// Bytes of an example's message.
const MOST_TEXT: usize = 300;

/// Where a request is.
struct Place {
    id: String,
    time: String,
    operation: String,
    resource: String,
    object: String,
    namespace: String,
    kind: String,
    user: String,
}

#[derive(Debug, Clone, Serialize)]
struct Example {
    id: String,
    time: String,
    operation: String,
    resource: String,
    object: String,
    user: String,
    policy: String,
    says: String,
}

#[derive(Debug, Default)]
struct Kind {
    requests: u64,
    /// Counts by what one asks: policy, namespace, user, kind.
    by: BTreeMap<&'static str, BTreeMap<String, u64>>,
    examples: BTreeMap<String, Vec<Example>>,
}

#[derive(Debug, Default)]
struct Report {
    judged: u64,
    unchanged: u64,
    indeterminate: u64,
    not_judged: BTreeMap<String, u64>,
    kinds: BTreeMap<ChangeKind, Kind>,
    /// What could have mattered, by policy.
    unseen: BTreeMap<String, u64>,
    /// Requests on which mutating policies were not tried.
    not_mutated: u64,
}

/// From the decision log.
pub(super) fn of_log(args: &ReplayArgs, judge: &Judge, candidate: &Candidate) -> anyhow::Result<Exit> {
    let (mut report, mut pairs) = (Report::default(), Pairs::default());
    let done = each_batch(args, |items| {
        let items: Vec<(bool, &Item)> = items.iter().map(|item| (pairs.is_second(&item.decision), item)).collect();
        let work = |(twice, item): &(bool, &Item)| judge.impact(candidate, &item.decision, &item.body, *twice);
        for ((_, item), change) in items.iter().zip(side_by_side(&items, &work)?) {
            let d = &item.decision;
            let place = Place {
                id: d.decision_id.clone(),
                time: d.timestamp.clone(),
                operation: d.request.operation.as_str().to_owned(),
                resource: resource(&d.request),
                object: object(&d.request),
                namespace: d.request.namespace.clone(),
                kind: d.request.kind.clone(),
                user: d.request.user.username.clone(),
            };
            report.take(&place, &change, args.examples);
        }
        Ok(())
    })?;
    if done != Exit::Fine {
        return Ok(done);
    }
    report.print(args)?;
    Ok(report.exit(args))
}

/// From the API server's audit log.
pub(super) fn of_audit(args: &ReplayArgs, candidate: &Candidate) -> anyhow::Result<Exit> {
    const AT_ONCE: usize = 512;
    let mut report = Report::default();
    let mut batch: Vec<AuditedRequest> = Vec::new();
    let filter = super::audit_filter(args)?;
    let mut requests = AuditRequests::default();
    for path in &args.kube_audit {
        let mut events = 0_u64;
        let unreadable = requests.read(path, |answer| -> anyhow::Result<()> {
            events += 1;
            match answer {
                AuditAnswer::Request(request) if super::takes(&filter, &request.asked) => batch.push(*request),
                AuditAnswer::NotJudged(why, asked) if super::takes(&filter, &asked) => {
                    *report.not_judged.entry(why.to_owned()).or_default() += 1;
                }
                AuditAnswer::Request(_) | AuditAnswer::NotJudged(..) | AuditAnswer::None => {}
            }
            if batch.len() >= AT_ONCE {
                report.take_audited(&std::mem::take(&mut batch), args, candidate)?;
            }
            Ok(())
        })?;
        // Whoever names the wrong file must not hear that nothing would change.
        anyhow::ensure!(unreadable == 0 || events > 0, "no line of `{}` is an audit event", path.display());
        if unreadable > 0 {
            let warning = Style::stderr().yellow("warning");
            eprintln!("{warning}: {unreadable} lines of `{}` are no audit events", path.display());
        }
    }
    report.take_audited(&batch, args, candidate)?;
    report.print(args)?;
    Ok(report.exit(args))
}

impl Report {
    fn take_audited(
        &mut self,
        batch: &[AuditedRequest],
        args: &ReplayArgs,
        candidate: &Candidate,
    ) -> anyhow::Result<()> {
        let changes = side_by_side(batch, &|request: &AuditedRequest| request.impact(candidate))?;
        for (audited, change) in batch.iter().zip(changes) {
            let r = &audited.request;
            let name = if r.name.is_empty() { r.generate_name().unwrap_or("-") } else { &r.name };
            let resource = r.resource_path();
            let place = Place {
                id: audited.audit_id.clone(),
                time: audited.asked.time.clone(),
                operation: r.operation.as_str().to_owned(),
                resource: if r.resource.group.is_empty() {
                    resource
                } else {
                    format!("{resource}.{}", r.resource.group)
                },
                object: if r.namespace.is_empty() { name.to_owned() } else { format!("{}/{name}", r.namespace) },
                namespace: r.namespace.clone(),
                kind: r.kind.kind.clone(),
                user: r.user.username.clone(),
            };
            self.take(&place, &change, args.examples);
        }
        Ok(())
    }

    fn take(&mut self, place: &Place, change: &Change, examples: usize) {
        if let Some(why) = &change.not_judged {
            *self.not_judged.entry(why.clone()).or_default() += 1;
            return;
        }
        self.judged += 1;
        self.not_mutated += u64::from(change.not_mutated);
        self.indeterminate += u64::from(!change.unseen.is_empty());
        for policy in change.unseen.keys() {
            count(&mut self.unseen, policy);
        }
        self.unchanged += u64::from(change.unseen.is_empty() && change.changes.is_empty());
        for (kind, policies) in &change.changes {
            let found = self.kinds.entry(*kind).or_default();
            found.requests += 1;
            let named = [("namespace", &place.namespace), ("user", &place.user), ("kind", &place.kind)];
            for (by, value) in named {
                count(found.by.entry(by).or_default(), if value.is_empty() { "-" } else { value });
            }
            for (policy, says) in policies {
                count(found.by.entry("policy").or_default(), policy);
                let shown = found.examples.entry(policy.clone()).or_default();
                if shown.len() < examples {
                    shown.push(Example {
                        id: place.id.clone(),
                        time: place.time.clone(),
                        operation: place.operation.clone(),
                        resource: place.resource.clone(),
                        object: place.object.clone(),
                        user: place.user.clone(),
                        policy: policy.clone(),
                        says: says.chars().take(MOST_TEXT).collect(),
                    });
                }
            }
        }
    }

    fn exit(&self, args: &ReplayArgs) -> Exit {
        // Whoever tried nothing out must not hear that nothing would change.
        if self.judged == 0 {
            eprintln!("{}: there was nothing to judge that the filters take", Style::stderr().red("error"));
            return Exit::CouldNotRun;
        }
        let default = [FailOn::NewlyDenied, FailOn::NewlyFailed];
        let wanted = if args.fail_on.is_empty() { &default[..] } else { &args.fail_on };
        let fails = wanted.iter().any(|f| match f {
            FailOn::Any => !self.kinds.is_empty(),
            FailOn::Indeterminate => self.indeterminate > 0 || self.not_mutated > 0,
            other => other.change().is_some_and(|kind| self.kinds.contains_key(&kind)),
        });
        if fails { Exit::Finding } else { Exit::Fine }
    }

    fn print(&self, args: &ReplayArgs) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout());
        match args.output {
            Output::Table => self.table(&mut out)?,
            Output::Json => self.json(&mut out)?,
            Output::Csv => {
                let mut writer = csv::Writer::from_writer(&mut out);
                writer.write_record(["change", "by", "value", "requests"])?;
                for (kind, found) in &self.kinds {
                    for (by, values) in &found.by {
                        for (value, requests) in values {
                            csv_row(&mut writer, [kind.as_str(), by, value, &requests.to_string()])?;
                        }
                    }
                }
                writer.flush()?;
            }
        }
        Ok(out.flush()?)
    }

    fn json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        for (kind, found) in &self.kinds {
            for example in found.examples.values().flatten() {
                let mut value = serde_json::to_value(example)?;
                if let Some(members) = value.as_object_mut() {
                    members.insert("type".to_owned(), json!("example"));
                    members.insert("change".to_owned(), json!(kind.as_str()));
                }
                writeln!(out, "{value}")?;
            }
        }
        let changes: serde_json::Map<String, serde_json::Value> = ChangeKind::ALL
            .into_iter()
            .map(|kind| {
                let found = self.kinds.get(&kind);
                let by = found.map(|f| &f.by).cloned().unwrap_or_default();
                (kind.as_str().to_owned(), json!({"requests": found.map_or(0, |f| f.requests), "by": by}))
            })
            .collect();
        let summary = json!({
            "type": "summary", "judged": self.judged, "unchanged": self.unchanged, "indeterminate": self.indeterminate,
            "unseen": self.unseen, "not_mutated": self.not_mutated, "not_judged": self.not_judged, "changes": changes,
        });
        Ok(writeln!(out, "{summary}")?)
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let style = Style::stdout();
        for kind in ChangeKind::ALL {
            let Some(found) = self.kinds.get(&kind) else { continue };
            let title = format!("{}: {} requests", kind.as_str().replace('_', " "), found.requests);
            let bad = matches!(kind, ChangeKind::NewlyDenied | ChangeKind::NewlyFailed);
            writeln!(out, "{}", if bad { style.red(&title) } else { style.yellow(&title) })?;
            for by in ["policy", "namespace", "user", "kind"] {
                let Some(values) = found.by.get(by) else { continue };
                let mut values: Vec<_> = values.iter().collect();
                values.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
                let shown: Vec<String> = values.iter().take(SHOWN).map(|(v, n)| format!("{} {n}", plain(v))).collect();
                let more = values.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                writeln!(out, "  by {by:<10} {}{more}", shown.join(", "))?;
            }
            for e in found.examples.values().flatten() {
                writeln!(
                    out,
                    "  {}  {} {} {} by {}\n    {}: {}",
                    plain(&e.id),
                    e.operation,
                    plain(&e.resource),
                    plain(&e.object),
                    plain(&e.user),
                    plain(&e.policy),
                    plain(&e.says)
                )?;
            }
        }
        writeln!(out, "{} judged: {} unchanged, {} indeterminate", self.judged, self.unchanged, self.indeterminate)?;
        for (policy, count) in &self.unseen {
            let policy = if policy == "*" { "any policy" } else { policy };
            writeln!(out, "  {count} could have been decided by what the record does not show to {}", plain(policy))?;
        }
        if self.not_mutated > 0 {
            let count = self.not_mutated;
            writeln!(out, "{count} not tried on mutating policies: what those of then made of them is not on record")?;
        }
        for (why, count) in &self.not_judged {
            writeln!(out, "{count} not judged: {}", plain(why))?;
        }
        Ok(())
    }
}

/// One more of a group.
fn count(groups: &mut BTreeMap<String, u64>, value: &str) {
    let full = groups.len() >= MOST_GROUPS && !groups.contains_key(value);
    *groups.entry(if full { "(others)".to_owned() } else { value.to_owned() }).or_default() += 1;
}
