//! `kafka-tower check`: tries the settings against the cluster.

mod facts;

use kafka_tower::source::SourcePreflightReport;
use kafka_tower::{KafkaSource, PreflightReport};

use crate::args::{CheckArgs, Common};
use crate::exit::{End, Failure};
use crate::output::style::verdict;
use crate::output::{document, result};
use crate::settings::{self, Settings, Side};
use facts::Checked;

pub(crate) async fn run(common: &Common, args: &CheckArgs) -> Result<End, Failure> {
    let settings = Settings::read(common, Side::Sink)?;
    let topic = args.topic.as_deref();
    let source = settings.source(args.group.as_deref(), &topic.map(str::to_owned).into_iter().collect::<Vec<_>>())?;
    let source = (!source.group_id.is_empty()).then_some(source);
    let sink = settings.sink(topic)?;
    // Settings for reading alone need no topic to send to.
    let sink = (source.is_none() || !sink.topic.is_empty()).then_some(sink);
    if let Some(sink) = &sink {
        settings::needs_topic(sink)?;
    }

    let sink = match &sink {
        Some(sink) => Some(kafka_tower::preflight(sink).await),
        None => None,
    };
    let source = match source {
        Some(source) => Some(KafkaSource::<()>::builder(source).preflight().await),
        None => None,
    };
    let checked = Checked::of(sink.as_ref(), source.as_ref());
    if common.json {
        document(&checked)?;
    } else {
        shown(sink.as_ref(), source.as_ref())?;
    }
    Ok(End::of(checked.passed))
}

fn shown(sink: Option<&PreflightReport>, source: Option<&SourcePreflightReport>) -> Result<(), Failure> {
    if let Some(sink) = sink {
        result(&format!("SENDING\n{}", colored(&sink.to_string(), sink.passed())))?;
    }
    if let Some(source) = source {
        let space = if sink.is_some() { "\n" } else { "" };
        result(&format!("{space}READING\n{}", colored(&source.to_string(), source.passed())))?;
    }
    Ok(())
}

/// The report with its last line, the verdict, in colour.
fn colored(report: &str, passed: bool) -> String {
    match report.rsplit_once('\n') {
        Some((report, _)) => format!("{report}\n{}", verdict(passed)),
        None => report.to_owned(),
    }
}
