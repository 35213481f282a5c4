//! Output of a batch: device writes and sends, and what their failures lead to.
//!
//! Nothing here ends the loop. What the kernel refuses is counted, and logged once a minute.

use std::mem;
use std::time::Instant;

use tracing::warn;

use super::worker::{Fault, SCRATCH_SLOT, Worker};
use crate::buffer::Piece;
use crate::device::DeviceIo;
use crate::drops::DropReason;
use crate::node::Output;
use crate::offload::DeviceWrite;
use crate::socket::{SendError, SendFault, UnderlayIo};
use crate::transport::{Carrier, Transmit, overhead};

impl Worker {
    /// Writes and sends everything, then forgets it together with the batch's headers.
    pub(super) fn flush(&mut self, now: Instant) {
        let mut out = mem::take(&mut self.out);
        out.finish();
        self.underlay.start_batch();
        for write in &out.writes {
            self.write(now, write, &out.pieces);
        }
        for transmit in &out.transmits {
            self.send(now, transmit, &out.pieces);
        }
        self.flush_quic(now);
        out.clear();
        self.out = out;
        self.memory.reset_headers();
    }

    fn write(&mut self, now: Instant, write: &DeviceWrite, pieces: &[Piece]) {
        let device = &mut self.devices[write.network.index()];
        let range = write.pieces.start as usize..write.pieces.end as usize;
        let result = device.write(write.vnet.to_bytes(), &pieces[range], &self.memory);
        self.calls.device_writes += 1;
        let Err(error) = result else {
            self.calls.device_written_packets += u64::from(write.packets);
            self.calls.device_big_writes += u64::from(write.is_big());
            return;
        };
        // cold: a link that is down, or an offload that the kernel refuses.
        self.shared.core().refuse_write(write, &error);
        let fault = Fault::Write(write.network, error.raw_os_error());
        if let Some(repeats) = self.log.allow(fault, now) {
            let device = self.devices[write.network.index()].name();
            warn!(device, %error, repeats, "packet refused");
        }
    }

    fn send(&mut self, now: Instant, transmit: &Transmit, pieces: &[Piece]) {
        let Err((SendError { fault, sent }, refused)) = self.put(now, transmit, pieces) else {
            return;
        };
        // cold: a path that shrank, a full queue, an address or a route that is gone.
        match fault {
            SendFault::TooBig => self.resend(now, transmit, &refused, sent, pieces),
            fault => self.give_up(now, transmit, sent, fault),
        }
    }

    /// Sends a transmit, sealed if need be. Fails with what the kernel was given.
    fn put(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        pieces: &[Piece],
    ) -> Result<(), (SendError, Transmit)> {
        match transmit.carrier {
            Carrier::WireGuard => self.send_sealed(now, transmit, pieces),
            Carrier::Quic => {
                self.queue_quic(now, transmit, pieces);
                Ok(())
            }
            Carrier::Vxlan | Carrier::VxlanGpe => {
                let sent = self.underlay.send(transmit, pieces, &self.memory);
                sent.map_err(|error| (error, transmit.clone()))
            }
        }
    }

    /// Counts what did not go out after the first `sent` datagrams.
    fn give_up(&mut self, now: Instant, transmit: &Transmit, sent: u16, fault: SendFault) {
        if let SendFault::Failed(error) = fault
            && let Some(repeats) = self.log.allow(Fault::Send(error), now)
        {
            let core = self.shared.core();
            let peer = core.node.peer(transmit.peer).map_or("", |peer| &peer.name);
            warn!(peer, to = %transmit.to, %error, repeats, "datagram refused");
        }
        self.drop_unsent(transmit, sent, fault.drop_reason());
    }

    fn drop_unsent(&mut self, transmit: &Transmit, sent: u16, reason: DropReason) {
        let unsent = u64::from(transmit.count.saturating_sub(sent));
        let (network, peer) = (Some(transmit.network), Some(transmit.peer));
        self.shared.core().node.count_drop(network, peer, reason, unsent);
    }

    /// The path takes less than was known: asks the kernel how much, cuts what is unsent again.
    fn resend(
        &mut self,
        now: Instant,
        transmit: &Transmit,
        refused: &Transmit,
        sent: u16,
        pieces: &[Piece],
    ) {
        // Where flows take different paths, the kernel may know a larger one than the flow's.
        let Transmit { to, from, datagram_len, .. } = *refused;
        let smaller = overhead::smaller_path_mtu(to.ip(), datagram_len.into());
        let found = self.underlay.path_mtu(to, from);
        let mtu = found.map_or(smaller, |mtu| smaller.min(u16::try_from(mtu).unwrap_or(u16::MAX)));
        self.shared.core().node.handle_path_mtu(transmit.peer, mtu);
        let own = &pieces[transmit.pieces.start as usize..transmit.pieces.end as usize];
        for index in sent..transmit.count {
            let slot = self.memory.slot(SCRATCH_SLOT);
            let offset = usize::from(index) * usize::from(transmit.datagram_len);
            let datagram = self.memory.gather(own, offset, transmit.datagram_len.into(), slot);
            let mut again = Output::default();
            let memory = &mut self.memory;
            self.shared.core().node.handle_unsent(now, transmit, datagram, memory, &mut again);
            self.send_again(now, &again);
        }
    }

    /// Sends what was cut again; a second refusal is final.
    fn send_again(&mut self, now: Instant, again: &Output) {
        for write in &again.writes {
            self.write(now, write, &again.pieces);
        }
        for transmit in &again.transmits {
            if let Err((SendError { fault, sent }, _)) = self.put(now, transmit, &again.pieces) {
                self.give_up(now, transmit, sent, fault);
            }
        }
    }
}
