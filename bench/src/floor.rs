//! The floor: the least that a proxy on tokio and rustls can do. It terminates TLS and copies bytes to and from a backend,
//! and does nothing else. It is not changed, so that measurements of different times can be compared.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Failure;

/// The size of each of the two buffers of a connection.
const BUFFER: usize = 16 * 1024;

/// The options of the floor.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Its port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The backend's port on 127.0.0.1.
    #[arg(long)]
    backend: u16,
    /// The folder with `cert.pem` and `key.pem`.
    #[arg(long)]
    folder: PathBuf,
}

/// Serves until the process is ended.
///
/// # Errors
/// If it can't read the certificate, listen or accept.
pub fn run(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // In a task, because the runtime's first thread has no worker.
    let (config, port) = (config(options)?, options.port);
    let backend = SocketAddr::from((Ipv4Addr::LOCALHOST, options.backend));
    runtime.block_on(runtime.spawn(serve(config, port, backend)))?
}

fn config(options: &Options) -> Result<ServerConfig, Failure> {
    let certificate = CertificateDer::from_pem_file(options.folder.join("cert.pem"))?;
    let key = PrivateKeyDer::from_pem_file(options.folder.join("key.pem"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

async fn serve(config: ServerConfig, port: u16, backend: SocketAddr) -> Result<(), Failure> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that fails reports it.
            let _: Result<(), std::io::Error> = carry(acceptor, socket, backend).await;
        });
    }
}

async fn carry(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    backend: SocketAddr,
) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut client = acceptor.accept(socket).await?;
    let mut server = TcpStream::connect(backend).await?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
    Ok(())
}
