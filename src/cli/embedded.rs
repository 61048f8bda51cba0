//! The embedded broker of `imbridge dev`: librdkafka's mock cluster behind a configurable port.
//!
//! The mock cluster listens on a random loopback port and advertises it to clients. A small TCP forwarder listens on
//! the wanted port, and the cluster is set to advertise that one. So librdkafka's clients (kcat, confluent-kafka) and
//! kafkajs can connect. The unsafe code here is a call that rust-rdkafka does not wrap; those for a real cluster are in
//! `publish/native.rs`.

use std::ffi::CString;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use tokio::net::{TcpListener, TcpStream};

const BROKER: i32 = 1;

/// A broker in this process, until this is dropped.
pub(super) struct Broker {
    /// The mock cluster lives as long as the client that created it.
    _owner: BaseProducer,
    /// The address for clients.
    pub address: SocketAddr,
}

impl Broker {
    /// Starts a broker that clients reach at `127.0.0.1:port`. Must be called inside a tokio runtime.
    pub async fn start(port: u16) -> Result<Broker> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
            format!("port {port} is in use: is Kafka already running? choose another port with --kafka-port")
        })?;
        let address = listener.local_addr()?;
        let owner: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "1").create()?;
        let cluster = owner.client().mock_cluster();
        let real = cluster
            .context("librdkafka was built without its mock cluster")?
            .bootstrap_servers();
        set_host_port(&owner, address.port())?;
        actix_web::rt::spawn(forward(listener, real));
        Ok(Broker { _owner: owner, address })
    }
}

fn set_host_port(owner: &BaseProducer, port: u16) -> Result<()> {
    let host = CString::new("127.0.0.1")?;
    // SAFETY: `owner` is alive, so is the mock cluster that it owns, and `host` outlives the call, which copies it.
    unsafe {
        let cluster = rdkafka::bindings::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
        ensure!(!cluster.is_null(), "librdkafka was built without its mock cluster");
        rdkafka::bindings::rd_kafka_mock_broker_set_host_port(cluster, BROKER, host.as_ptr(), port.into());
    }
    Ok(())
}

async fn forward(listener: TcpListener, real: String) {
    while let Ok((mut client, _)) = listener.accept().await {
        let real = real.clone();
        actix_web::rt::spawn(async move {
            if let Ok(mut broker) = TcpStream::connect(&real).await {
                client.set_nodelay(true).and_then(|()| broker.set_nodelay(true)).ok();
                tokio::io::copy_bidirectional(&mut client, &mut broker).await.ok();
            }
        });
    }
}
