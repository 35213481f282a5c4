//! The connections' engine, with the certificates that the files say; and following these files.

use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::UnixTime;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::build::StartError;
use super::crossing::Ways;
use super::shared::Shared;
use crate::config::{self, Config, quic_file};
use crate::peer::PeerId;
use crate::transport::quic::{Congestion, Known, PeerSpec, Quic, Settings, Tls};

/// How often it is looked whether the files have changed.
const PERIOD: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that ends within so many days is warned of, once a day.
const EXPIRY_DAYS: i64 = 30;

/// Makes the connections' engine, with all QUIC peers.
///
/// # Errors
///
/// Names the file that cannot be used.
pub(super) fn engine(config: &Config, ways: &Ways) -> Result<Option<Arc<Quic>>, StartError> {
    let Some(settings) = &config.quic else { return Ok(None) };
    let now = Instant::now();
    let tls = load(config, settings)?;
    let congestion = match settings.congestion {
        config::Congestion::Tolerant => Congestion::Tolerant,
        config::Congestion::Cubic => Congestion::Cubic,
        config::Congestion::Bbr => Congestion::Bbr,
        config::Congestion::NewReno => Congestion::NewReno,
        config::Congestion::Fixed { window_bytes } => {
            Congestion::Fixed { window_bytes: window_bytes.into() }
        }
    };
    let settings = Settings { congestion, handshakes_max: settings.max_handshakes as usize };
    let engine = Quic::new(tls, settings, now);
    for (slot, (peer, way)) in config.peers.iter().zip(ways.iter()).enumerate() {
        if peer.quic().is_none() {
            continue;
        }
        let id = PeerId::new(slot, 0);
        engine.add(PeerSpec { id, endpoint: way.endpoint() }, now);
        if let (Some(to), Some(mtu)) = (way.endpoint(), way.path_mtu) {
            engine.set_kernel_mtu(id, to.ip(), mtu, now);
        }
    }
    Ok(Some(Arc::new(engine)))
}

/// How the peers are known.
fn known(config: &Config) -> impl Iterator<Item = (PeerId, Known)> {
    let peers = config.peers.iter().enumerate();
    peers.filter_map(|(slot, peer)| Some((PeerId::new(slot, 0), peer.quic()?.known(&peer.name))))
}

/// Takes the files again when they have changed, or somebody asks for it, for as long as it is
/// polled. What cannot be used leaves things as they are.
pub(super) async fn follow(config: Config, shared: Arc<Shared>, asked: Arc<Notify>) -> Infallible {
    let (Some(settings), Some(engine)) = (&config.quic, &shared.quic) else {
        return pending().await;
    };
    let mut rounds = interval(PERIOD);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken = marks(settings);
    let mut warned: Option<Instant> = None;
    loop {
        let is_asked = tokio::select! {
            _ = rounds.tick() => false,
            () = asked.notified() => true,
        };
        if warned.is_none_or(|at| at.elapsed() >= DAY) {
            warned = Some(Instant::now());
            warn_of_expiry("our certificate", engine.expires());
        }
        let found = marks(settings);
        if !is_asked && found == taken {
            continue;
        }
        // A file that is being written is not whole yet: what is read is compared with what was
        // there before.
        taken = found;
        match load(&config, settings) {
            Ok(tls) => {
                engine.set_tls(tls, Instant::now());
                info!(expires_in_days = days_to(engine.expires()), "certificates taken");
                warned = None;
            }
            Err(error) => warn!(%error, "certificates not taken: the former ones stay"),
        }
    }
}

fn load(config: &Config, settings: &config::Quic) -> Result<Tls, StartError> {
    let (credentials, trust) = quic_file::load(settings, known(config))?;
    let validity = credentials.validity();
    if validity.is_to_come(UnixTime::now()) {
        warn!(first_day = validity.first_day(), "our certificate cannot be used yet");
    }
    Ok(Tls::new(credentials, trust)?)
}

/// What changes when a file is written, or another takes its place.
fn marks(settings: &config::Quic) -> Vec<Option<(u64, i64, i64, u64)>> {
    let files = [&settings.certificate_file, &settings.private_key_file];
    let all = files.into_iter().chain(&settings.ca_file).chain(&settings.crl_file);
    let mark = |path| {
        let file = fs::metadata(path).ok()?;
        Some((file.ino(), file.mtime(), file.mtime_nsec(), file.len()))
    };
    all.map(mark).collect()
}

/// Says so if a certificate ends soon, or has ended.
pub(super) fn warn_of_expiry(whose: &str, expires: SystemTime) {
    let days = days_to(expires);
    if days < 0 {
        warn!(whose, days_ago = -1 - days, "certificate has expired");
    } else if days < EXPIRY_DAYS {
        warn!(whose, days, "certificate expires soon");
    }
}

fn days_to(at: SystemTime) -> i64 {
    match at.duration_since(SystemTime::now()) {
        Ok(left) => (left.as_secs() / DAY.as_secs()) as i64,
        Err(passed) => -((passed.duration().as_secs() / DAY.as_secs()) as i64) - 1,
    }
}
