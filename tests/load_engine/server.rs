//! A small server on 127.0.0.1 that answers, stalls, breaks off and lies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server noted.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: Mutex<u64>,
    pub(crate) bodies: Mutex<Vec<Vec<u8>>>,
    pub(crate) stalled: AtomicBool,
}

/// Serves until the test's runtime ends.
pub(crate) async fn serve() -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *noted.connections.lock().unwrap() += 1;
            tokio::spawn(converse(stream, Arc::clone(&noted)));
        }
    });
    (address, seen)
}

/// Reads one head and its body; none at the end of the connection.
pub(crate) async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Option<(String, Vec<u8>)> {
    let split = loop {
        if let Some(split) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break split + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..split]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while buffer.len() < split + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[split..split + length].to_vec();
    buffer.drain(..split + length);
    Some((head.split(' ').nth(1).unwrap().to_owned(), body))
}

pub(crate) async fn converse(mut stream: TcpStream, seen: Arc<Seen>) -> Option<()> {
    let mut buffer = Vec::new();
    for number in 0.. {
        let (path, body) = read_request(&mut stream, &mut buffer).await?;
        if !body.is_empty() {
            seen.bodies.lock().unwrap().push(body);
        }
        while seen.stalled.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let reply = match path.as_str() {
            "/missing" => "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
            "/short" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nfew",
            "/short_chunk" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
            "/half_a_head" => "HTTP/1.1 200 OK\r\ncontent-le",
            "/nothing" => "",
            "/switch" => "HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n",
            "/nonsense" => "SSH-2.0-what\r\n\r\n",
            "/close" => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            // Every second request of a connection meets a server that has had enough.
            "/tired" if number % 2 == 1 => return Some(()),
            "/endless" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
                    .await
                    .ok()?;
                loop {
                    stream.write_all(b"more").await.ok()?;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            }
            "/silent" => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                ""
            }
            // The head at once, the body later.
            "/late" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.ok()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
                "ok"
            }
            "/moody" if number % 2 == 1 => {
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
            }
            "/large" => {
                let size = 8 << 20;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.ok()?;
                stream.write_all(&vec![b'x'; size]).await.ok()?;
                ""
            }
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
        let ends = ["/short", "/short_chunk", "/half_a_head", "/nothing", "/nonsense", "/close"];
        if ends.contains(&path.as_str()) {
            return Some(());
        }
    }
    None
}
