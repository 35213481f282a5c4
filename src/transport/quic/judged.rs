//! For how long a certificate that was accepted need not be looked at again: what it takes to judge
//! a thousand of them is more than everything else that idle connections cost.

use std::sync::{Arc, Weak};

use rustls::pki_types::{CertificateDer, UnixTime};

use super::certificate::Validity;
use super::tls::Tls;

/// The judgement that a connection may go on.
pub(super) struct Judged {
    /// What it was judged by.
    by: Weak<Tls>,
    /// From when, until when: both belong to it.
    since: UnixTime,
    until: UnixTime,
}

impl Judged {
    /// Takes what was accepted just now.
    pub(super) fn new(tls: &Arc<Tls>, chain: &[CertificateDer<'_>], now: UnixTime) -> Self {
        let ends = chain.iter().filter_map(Validity::of).map(Validity::ends);
        // One that is over already was not needed for the way to an authority.
        let until = ends.filter(|end| *end >= now).min().unwrap_or(now);
        Self { by: Arc::downgrade(tls), since: now, until }
    }

    /// Whether it would be the same now. A clock that was set back may be before a certificate's
    /// time.
    pub(super) fn holds(&self, tls: &Arc<Tls>, now: UnixTime) -> bool {
        self.by.as_ptr() == Arc::as_ptr(tls) && (self.since..=self.until).contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::super::certificate::{Credentials, read_certificates};
    use super::super::issue::{Dates, self_signed};
    use super::super::trust::Trust;
    use super::*;

    fn at(secs: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(secs))
    }

    #[test]
    fn judgement_holds_until_the_first_certificate_ends_and_for_what_it_was_judged_by() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let [short, long] = [10, 20].map(|days| {
            self_signed("a", Dates { now: UNIX_EPOCH + Duration::from_secs(now), days }).unwrap()
        });
        let chain = [&long, &short]
            .map(|issued| read_certificates(issued.certificate.as_bytes()).unwrap().remove(0));
        let tls = || {
            let own = Credentials::from_pem(short.certificate.as_bytes(), short.key.as_bytes());
            Arc::new(Tls::new(own.unwrap(), Trust::new(&[], &[], []).unwrap()).unwrap())
        };
        let (ours, other) = (tls(), tls());
        let [first, last] = chain.each_ref().map(|der| Validity::of(der).unwrap().ends().as_secs());
        assert!(last < first);

        let judged = Judged::new(&ours, &chain, at(now));

        assert!(judged.holds(&ours, at(now)) && judged.holds(&ours, at(last)));
        assert!(!judged.holds(&ours, at(last + 1)), "one is over");
        assert!(!judged.holds(&ours, at(now - 1)), "the clock was set back");
        assert!(!judged.holds(&other, at(now)), "there is another list, or other peers");
        let judged = Judged::new(&ours, &chain, at(last + 1));
        assert!(judged.holds(&ours, at(first)) && !judged.holds(&ours, at(first + 1)));
    }
}
