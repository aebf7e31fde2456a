//! What runs inside the pods of some cases: a server, and a client of the name server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn main(words: &[&str]) -> ExitCode {
    let outcome = match words {
        ["listen", address] => listen(address),
        ["ask", server, question] => ask(server, question),
        _ => return ExitCode::FAILURE,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{words:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells every caller the hostname and the caller's address.
fn listen(address: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening");
    loop {
        let (mut stream, peer) = listener.accept()?;
        let name = nix::unistd::gethostname()?;
        stream.write_all(format!("{} {}", name.display(), peer.ip()).as_bytes())?;
    }
}

/// Prints what a server answers by UDP and by TCP.
fn ask(server: &str, question: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect(server)?;
    socket.send(question.as_bytes())?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    println!("{}", String::from_utf8_lossy(&answer[..length]));
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(question.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    println!("{text}");
    Ok(())
}
