//! Where a gateway can listen: TLS with a certificate that changes, socket files, own metrics.

use std::{fs, net::SocketAddr, path::Path};

use rcgen::generate_simple_self_signed;
use reqwest::{Certificate, Version};

use crate::{
    harness::{Process, command, eventually, fails, place, trigger},
    http::{Connection, Request},
};

const NAME: &str = "gateway.example";

/// Writes a new certificate and its key; the certificate to trust.
fn write_certificate(place: &Path) -> Certificate {
    let made = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(place.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(place.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

/// A client that trusts one certificate and nothing else.
fn client(address: SocketAddr, trusted: &Certificate) -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .tls_certs_only([trusted.clone()])
        .resolve(NAME, address)
        .no_proxy()
        .build()
        .unwrap()
}

async fn is_trusted(address: SocketAddr, certificate: &Certificate) -> bool {
    let url = format!("https://{NAME}:{}/livez", address.port());
    client(address, certificate).get(url).send().await.is_ok()
}

#[tokio::test]
async fn a_certificate_is_served_and_read_again_on_sighup() {
    let place = place();
    let first = write_certificate(place.path());
    let tls = [("DUTYGATE_TLS_CERT", "cert.pem"), ("DUTYGATE_TLS_KEY", "key.pem")];
    let gateway = Process::start(place.path(), &tls).await;
    assert!(gateway.log().contains("https://"), "{}", gateway.log());
    let address = gateway.address;

    let kept_alive = client(address, &first);
    let url = format!("https://{NAME}:{}/v2/enqueue", address.port());
    let send = async || {
        let event = trigger("k", "s").to_string();
        let answer = kept_alive.post(&url).body(event).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.version(), Version::HTTP_2);
        answer.bytes().await.unwrap();
    };
    send().await;
    // Who speaks plain HTTP there is not let in, and does no harm.
    let mut plain = Connection::open(address).await;
    assert!(plain.try_send(&Request::get("/livez")).await.is_err());

    let second = write_certificate(place.path());
    assert!(is_trusted(address, &first).await, "files alone change nothing");
    gateway.signal("HUP");
    gateway.hears("certificate loaded again").await;
    assert!(is_trusted(address, &second).await);
    assert!(!is_trusted(address, &first).await);
    // Connections that are open go on.
    send().await;

    // A broken file changes nothing either.
    fs::write(place.path().join("key.pem"), "no key").unwrap();
    gateway.signal("HUP");
    gateway.hears("the certificate is not taken over").await;
    assert!(is_trusted(address, &second).await);
    drop((kept_alive, plain));
    gateway.terminate().await;
}

#[tokio::test]
async fn an_idle_http_2_connection_is_cut_after_the_grace() {
    let place = place();
    let certificate = write_certificate(place.path());
    let gateway = Process::start(
        place.path(),
        &[
            ("DUTYGATE_TLS_CERT", "cert.pem"),
            ("DUTYGATE_TLS_KEY", "key.pem"),
            ("DUTYGATE_SHUTDOWN_GRACE", "1s"),
        ],
    )
    .await;
    let kept_alive = client(gateway.address, &certificate);
    let url = format!("https://{NAME}:{}/livez", gateway.address.port());
    kept_alive.get(url).send().await.unwrap().bytes().await.unwrap();

    gateway.terminate().await;
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_at_start() {
    let place = place();
    let tls = [("DUTYGATE_TLS_CERT", "cert.pem"), ("DUTYGATE_TLS_KEY", "key.pem")];
    let said = fails(command(place.path(), &tls)).await;
    assert!(said.contains("cert.pem") && said.contains("key.pem"), "{said}");

    write_certificate(place.path());
    let cert = fs::read(place.path().join("cert.pem")).unwrap();
    write_certificate(place.path());
    fs::write(place.path().join("cert.pem"), cert).unwrap();
    let said = fails(command(place.path(), &tls)).await;
    assert!(said.contains("do not belong together"), "{said}");
}

#[tokio::test]
async fn a_socket_file_is_listened_on_also_after_a_crash() {
    let place = place();
    let socket = place.path().join("gateway.sock");
    let listen = format!("unix:{}", socket.display());
    let settings = [("DUTYGATE_LISTEN", listen.as_str())];
    let event = Request::post("/v2/enqueue", trigger("k", "s").to_string());

    let gateway = Process::start(place.path(), &settings).await;
    let mut connection = Connection::open_socket_file(&socket).await;
    connection.send(&event).await.expect(202);
    let url = [("DUTYGATE_URL", listen.as_str())];
    assert!(command(place.path(), &url).arg("healthcheck").status().unwrap().success());
    gateway.kill();
    assert!(socket.exists());

    let gateway = Process::start(place.path(), &settings).await;
    let mut connection = Connection::open_socket_file(&socket).await;
    connection.send(&event).await.expect(202);
    drop(connection);

    let elsewhere = self::place();
    let said = fails(command(elsewhere.path(), &settings)).await;
    assert!(said.contains("another process is listening there"), "{said}");
    gateway.terminate().await;
}

#[tokio::test]
async fn metrics_can_have_a_listener_of_their_own() {
    let place = place();
    let socket = place.path().join("metrics.sock");
    let listen = format!("unix:{}", socket.display());
    let gateway = Process::start(place.path(), &[("DUTYGATE_METRICS_LISTEN", &listen)]).await;
    gateway.enqueue(&trigger("k", "s"), 202).await;

    gateway.get("/metrics", 404).await;
    let mut connection = Connection::open_socket_file(&socket).await;
    let answer = connection.send(&Request::get("/metrics")).await.expect(200);
    assert!(answer.header("Content-Type").unwrap().starts_with("text/plain"), "{answer:?}");
    assert!(answer.text().contains("dutygate_events_received_total{"), "{answer:?}");
    connection.send(&Request::get("/readyz")).await.expect(200);
    connection.send(&Request::post("/v2/enqueue", "{}")).await.expect(404);
    drop(connection);
    gateway.terminate().await;
}

#[tokio::test]
async fn metrics_open_to_everybody_are_warned_about() {
    let place = place();
    let gateway = Process::start(place.path(), &[("DUTYGATE_LISTEN", "0.0.0.0:0")]).await;
    gateway.hears("/metrics is open to whoever reaches the gateway").await;
    gateway.terminate().await;
}

#[tokio::test]
async fn sighup_takes_over_what_it_can_and_says_what_it_cannot() {
    let place = place();
    let file = place.path().join("dutygate.yaml");
    fs::write(&file, "log: {level: info}\nlimits: {events_per_minute: 0}\n").unwrap();
    let gateway = Process::start(place.path(), &[("DUTYGATE_LOG_FORMAT", "text")]).await;

    fs::write(&file, "log: {level: debug}\nlimits: {events_per_minute: 5}\n").unwrap();
    gateway.signal("HUP");
    gateway.hears("limits.events_per_minute").await;
    gateway.hears("these changes need a restart").await;
    eventually("requests are logged", async || {
        gateway.get("/livez", 200).await;
        gateway.log().contains("answered").then_some(())
    })
    .await;

    fs::write(&file, "log: {level: loud}\n").unwrap();
    gateway.signal("HUP");
    gateway.hears("the settings are not taken over").await;
    gateway.enqueue(&trigger("k", "s"), 202).await;
    gateway.terminate().await;
}
