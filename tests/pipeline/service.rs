//! Notifications to systemd, which a socket of the test receives.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::support::bridge::Home;

const WATCHDOG: Duration = Duration::from_millis(400);

struct Manager(UnixDatagram);

impl Manager {
    fn of(home: &mut Home) -> Manager {
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a temporary folder takes a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time is set");
        home.environment("NOTIFY_SOCKET", path.display().to_string());
        home.environment("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Manager(socket)
    }

    /// The next message and its assignments.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("a datagram within 30 s");
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// The next message that is not a watchdog notification.
    fn news(&self) -> Vec<String> {
        loop {
            let message = self.next();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }
}

#[test]
fn systemd_is_notified_of_each_step_and_gets_watchdog_notifications() {
    let mut home = Home::new("notify");
    let manager = Manager::of(&mut home);
    let bridge = home.spawn();
    assert_eq!(manager.news(), ["READY=1"]);
    // Both ports answer from now on. The spool may take longer.
    assert_eq!(bridge.admin("/livez").expect("it answers").0, 200);

    // Four intervals without any other message: at least one watchdog notification in each.
    let began = Instant::now();
    for _ in 0..8 {
        let before = Instant::now();
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
        assert!(
            before.elapsed() < WATCHDOG,
            "no sign of life for {:?}",
            before.elapsed()
        );
    }
    assert!(
        began.elapsed() > WATCHDOG * 2,
        "eight notifications in {:?}",
        began.elapsed()
    );

    bridge.signal("HUP");
    let reloading = manager.news();
    assert_eq!(reloading[0], "RELOADING=1", "{reloading:?}");
    let since = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("the time it began");
    assert!(since.parse::<u64>().expect("a number") > 0);
    assert_eq!(manager.news(), ["READY=1"]);

    // A failed reload ends too.
    std::fs::write(home.config(), "not toml").expect("a temporary folder is writable");
    bridge.signal("HUP");
    assert_eq!(manager.news()[0], "RELOADING=1");
    assert_eq!(manager.news(), ["READY=1"]);

    assert!(bridge.terminate().success());
    assert_eq!(manager.news(), ["STOPPING=1"]);
}
