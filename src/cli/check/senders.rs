//! Whether a request with each sender's secret passes the code that verifies requests. Opens no port.

use std::sync::Arc;

use super::Report;
use crate::app::Config;
use crate::callback::{CommandTable, Provider};
use crate::cli::post::{plain_head, request};
use crate::lifecycle::unix_ms;
use crate::provider::Providers;

/// Prints a line for each sender. Does not check allowed addresses, nor signatures, which only OpenIM can make.
pub(super) fn check(config: &Config, report: &mut Report) {
    let mut config = config.clone();
    config.tencent.iter_mut().for_each(|app| app.allow = None);
    for instance in &mut config.openim {
        (instance.allow, instance.signature) = (None, None);
    }
    let providers = Providers::new(&config.tencent, &config.openim, Arc::new(CommandTable::default()));
    let tencent = config.tencent.iter().map(|app| {
        let way = if app.token.is_some() { "signed" } else { "not signed" };
        (
            Provider::Tencent,
            app.sdk_app_id.to_string(),
            format!("at /tencent, {way}"),
        )
    });
    let openim = config.openim.iter().map(|instance| {
        let secret = instance.secret.as_ref().map_or("", |_| "/<secret>");
        (
            Provider::OpenIm,
            instance.name.clone(),
            format!("at /openim{secret}/<command>"),
        )
    });
    for (provider, app, way) in tencent.chain(openim) {
        let now_ms = unix_ms();
        let head = plain_head(provider, &app, "check", now_ms);
        match request(&config, &head, now_ms).and_then(|request| request.verified(&providers, now_ms)) {
            Ok(found) if found == head => report.line("ok", "sender", format!("{app} passes {way}")),
            Ok(found) => report.line("FAIL", "sender", format!("{app} {way} is identified as {}", found.app)),
            Err(cause) => report.line("FAIL", "sender", format!("{app} {way}: {cause}")),
        }
    }
}
