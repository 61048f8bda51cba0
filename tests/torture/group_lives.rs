//! The copy of groups that `examples/sync-groups` keeps in PostgreSQL, compared with simulated groups of both IM
//! servers. After a backlog, and while events arrive, the bridge and the copy's processes are killed. No group may be
//! wrong, missing or too many.

mod copiers;
mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::dev::Killed;
use crate::size::{report, size};
use crate::support::bridge::{APP, Bridge, Home, PROGRAM, free_ports};
use crate::support::client::Connection;
use crate::support::reader::{Consumed, timeline};
use crate::support::samples::sample;
use crate::support::{eventually, kafka, within};
use copiers::{COPIERS, Copiers, EXAMPLE, PATIENCE, copier, postgres};
use life::{Life, Server, Version};

/// An IM server's connections. The calls of one group use the same one.
const CONNECTIONS: usize = 8;
/// Rows without their positions, by app and id.
type Groups = BTreeMap<(String, String), Value>;

/// The faults of a copy, one line per group.
#[derive(Debug, Default, PartialEq)]
struct Faults {
    wrong: Vec<String>,
    ghosts: Vec<String>,
    missing: Vec<String>,
}

fn compare(copy: &Groups, known: &Groups) -> Faults {
    let mut faults = Faults::default();
    for (key, row) in copy {
        match known.get(key) {
            None => faults.ghosts.push(format!("{key:?}: {row}")),
            Some(right) if right != row => faults.wrong.push(format!("{key:?}: {row}, not {right}")),
            Some(_) => {}
        }
    }
    let missing = known.iter().filter(|(key, _)| !copy.contains_key(key));
    faults.missing = missing.map(|(key, row)| format!("{key:?}: {row}")).collect();
    faults
}

/// Two Tencent apps and two OpenIM servers of different versions.
fn servers(home: &Home) -> [Server; 4] {
    let secret = home.path().join("secret");
    std::fs::write(&secret, "5f0c").expect("a temporary folder is writable");
    let other = APP + 1;
    home.configure(&format!(
        "[[tencent]]\nsdk_app_id = {other}\n\n[[openim]]\nname = \"old\"\nsecret = \"file:{}\"",
        secret.display()
    ));
    let tencent = |app: u64| Server {
        app: app.to_string(),
        version: Version::Tencent,
        target: format!("/tencent?SdkAppid={app}&CallbackCommand={{}}&contenttype=json"),
    };
    let openim = |app: &str, version, target: &str| Server {
        app: app.into(),
        version,
        target: target.into(),
    };
    [
        tencent(APP),
        tencent(other),
        openim("main", Version::Openim, "/openim/{}"),
        openim("old", Version::OldOpenim, "/openim/5f0c/{}"),
    ]
}

/// Posts calls of all groups over several connections, each when the previous one of its group was acknowledged.
/// Meanwhile it kills the bridge `kills` times, each time with one of the copiers.
fn live(
    home: &Home,
    bridge: Bridge,
    lives: &mut [Vec<Life>],
    (calls, kills): (u64, u64),
    mut copiers: Option<&mut Copiers>,
) -> Bridge {
    let posted = AtomicU64::new(0);
    let share = calls / lives.len() as u64;
    std::thread::scope(|scope| {
        let mut bridge = bridge;
        for (seed, lives) in (1..).zip(lives.iter_mut()) {
            let posted = &posted;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut connection = None;
                for _ in 0..share {
                    let at = random.usize(0..lives.len());
                    let call = lives[at].next();
                    eventually("the bridge to take a call", || {
                        let open = connection.take().or_else(|| Connection::open(home.port));
                        let mut open: Connection = open?;
                        let answer = open.post(&call.target, &call.body)?;
                        // A bridge that has just started may answer 503 until its spool is open.
                        assert!([200, 503].contains(&answer.status), "{}: {answer:?}", call.target);
                        connection = Some(open);
                        (answer.status == 200).then_some(())
                    });
                    posted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for kill in 1..=kills {
            within(PATIENCE, "calls to be posted", || {
                copiers.iter_mut().for_each(|copiers| copiers.keep());
                (posted.load(Ordering::Relaxed) >= calls * kill / (kills + 1)).then_some(())
            });
            copiers
                .iter_mut()
                .for_each(|copiers| copiers.kill(kill as usize % COPIERS));
            bridge.kill();
            bridge = home.start();
        }
        bridge
    })
}

/// A message's spool, seq and part.
fn position(message: &Consumed) -> (String, u64, u64) {
    let value = message.value.as_ref().expect("a record of a known schema");
    let number = |name: &str| value[name].as_u64().expect("a number");
    (
        value["spool"].as_str().expect("a text").to_owned(),
        number("seq"),
        number("part"),
    )
}

#[test]
fn a_copy_of_groups_by_kinds_is_right_after_a_backlog_and_live_over_kills_of_both_sides() {
    let (groups, calls) = (size("GROUPS", 80, 800), size("GROUP_CALLS", 4000, 200_000));
    let kills = size("GROUP_KILLS", 4, 100);
    // Eight connections, Python and PostgreSQL would disturb a test that measures times.
    let _alone = kafka::one_cluster_at_a_time();
    let postgres = postgres();
    let mut home = Home::new("lives");
    home.set("SCHEMAS__DIR", "schemas");
    home.set("KAFKA__SETTLE_MS", "500");
    let servers = servers(&home);
    let mut random = fastrand::Rng::with_seed(groups);
    let mut lives: Vec<Vec<Life>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for number in 0..groups as usize {
        // Each id is used on every server.
        let server = servers[number % servers.len()].clone();
        let life = Life::new(server, format!("g{}", number / servers.len()), random.fork());
        lives[number % CONNECTIONS].push(life);
    }

    let began = Instant::now();
    let bridge = live(&home, home.start(), &mut lives, (calls / 2, kills / 2), None);
    let mut copiers = Copiers::start(&postgres, &home);
    let bridge = live(&home, bridge, &mut lives, (calls / 2, kills), Some(&mut copiers));
    bridge.settle();

    let events = timeline(&kafka::shared(), &home.prefix, Path::new("schemas"));
    let mut everything: BTreeMap<i64, Value> = BTreeMap::new();
    for message in &events {
        let (spool, seq, part) = position(message);
        everything.entry(message.partition.into()).or_insert(json!({}))[&spool] = json!([seq, part]);
    }
    let mut seen = copiers.seen();
    let mut behind = 0;
    while seen != everything {
        seen = copiers.advance(&seen, &everything);
        if behind < kills as usize {
            copiers.kill(behind % COPIERS);
            behind += 1;
        }
    }
    let ended = copiers.ended;
    drop(copiers);

    let rows = postgres.query("SELECT * FROM groups");
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    let row = |row: &Value| {
        let names = ["owner", "attributes", "members"];
        let fields: serde_json::Map<_, _> = names
            .map(|name| (name.to_owned(), row[name].clone()))
            .into_iter()
            .collect();
        ((text(row, "app"), text(row, "id")), Value::Object(fields))
    };
    let copy: Groups = rows.iter().map(row).collect();
    let present = lives.iter().flatten();
    let known: Groups = present
        .filter_map(|life| Some(((life.server.app.clone(), life.id.clone()), life.group.as_ref()?.row())))
        .collect();
    let faults = compare(&copy, &known);
    report(
        "group-lives",
        &format!(
            "{groups} groups, {calls} calls, {} events in the timeline; {} kills of the bridge, {} of the copiers, which ended {ended} times by themselves; \
             {} groups are there: {} wrong, {} ghosts, {} missing; {:.0} s",
            events.len(),
            kills / 2 + kills,
            kills as usize + behind,
            known.len(),
            faults.wrong.len(),
            faults.ghosts.len(),
            faults.missing.len(),
            began.elapsed().as_secs_f64()
        ),
    );
    assert_eq!(faults, Faults::default());
    assert!(known.len() as u64 > groups / 2, "only {} groups are there", known.len());

    // A row has the position of the event that changed it last.
    let positions: BTreeSet<(String, String, String)> = events
        .iter()
        .filter_map(|message| {
            let ((spool, seq, part), value) = (position(message), message.value.as_ref()?);
            Some((
                text(value, "app"),
                value["group_id"].as_str()?.to_owned(),
                format!("{spool}/{seq}.{part}"),
            ))
        })
        .collect();
    for row in &rows {
        let position = (text(row, "app"), text(row, "id"), text(row, "position"));
        assert!(positions.contains(&position), "{position:?}");
    }
}

#[test]
fn with_dev_and_its_broker_an_event_becomes_a_row() {
    let postgres = postgres();
    let [kafka, port, admin, registry] = free_ports::<4>();
    let ports = [("kafka", kafka), ("", port), ("admin", admin), ("registry", registry)];
    let options = ports.map(|(name, port)| format!("--{name}-port={port}").replace("---", "--"));
    let dev = Command::new(PROGRAM)
        .arg("dev")
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _dev = Killed(dev.expect("the program was built"));
    eventually("dev to listen", || Connection::open(registry));
    // It waits for the topic, which the first event creates.
    let brokers = format!("127.0.0.1:{kafka}");
    let copier = copier(
        &postgres,
        &brokers,
        &format!("http://127.0.0.1:{registry}"),
        "im.timeline",
    )
    .spawn();
    let _copier = Killed(copier.expect("python starts"));
    let (target, body) = sample("tencent/Group.CallbackAfterCreateGroup");
    let answer = eventually("dev to take a callback", || {
        Connection::open(port)?.post(&target, &body)
    });
    assert_eq!(answer.status, 200);
    let rows = eventually("a row", || {
        Some(postgres.query("SELECT * FROM groups")).filter(|rows| !rows.is_empty())
    });
    assert_eq!(
        (&rows[0]["owner"], &rows[0]["members"]),
        (&json!("leckie"), &json!(["bob", "leckie", "peter"]))
    );
}

#[test]
fn the_example_has_a_hundred_lines_at_most() {
    let code = std::fs::read_to_string(format!("{EXAMPLE}/sync_groups.py")).expect("it is there");
    assert!(code.lines().count() <= 100, "{}", code.lines().count());
}

#[test]
fn a_wrong_group_a_ghost_and_a_missing_group_are_each_reported() {
    let key = |id: &str| ("a".to_owned(), id.to_owned());
    let row = |owner: &str| json!({"owner": owner, "attributes": {"custom": {}}, "members": ["x"]});
    let known = Groups::from([(key("1"), row("x")), (key("2"), row("y")), (key("3"), row("x"))]);
    assert_eq!(compare(&known, &known), Faults::default());
    let copy = Groups::from([(key("1"), row("x")), (key("2"), row("z")), (key("4"), row("x"))]);
    let Faults { wrong, ghosts, missing } = compare(&copy, &known);
    let begins = |lines: &[String], id: &str| lines.len() == 1 && lines[0].starts_with(&format!("{:?}", key(id)));
    assert!(begins(&wrong, "2"), "{wrong:?}");
    assert!(begins(&ghosts, "4"), "{ghosts:?}");
    assert!(begins(&missing, "3"), "{missing:?}");
}
