//! All nodes, the wire between them, and time.

mod batch;
mod end;
mod flush;
mod junk;

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use tunctl::node::Node;
use tunctl::transport::Carrier;

use super::check::order::{Lanes, Order};
use super::check::{Checked, ensure, tables};
use super::ledger::Ledger;
use super::plan::{Faults, HostIndex, NodeIndex, Plan};
use super::random::Random;
use super::settings;
use super::station::Station;
use super::talk::{Injection, Scene, Talk};
use super::wire::{Datagram, Wire};

/// A run that takes more events has a loop in it.
const EVENTS_MAX: usize = 2_000_000;

/// What a run did, to see that seeds do something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub sent: usize,
    pub datagrams: usize,
    pub delivered: usize,
    pub merged: usize,
    pub whole: usize,
    pub corrupted: usize,
    pub resent: usize,
    pub answers: usize,
    pub drops: u64,
}

enum Event {
    /// A host does something.
    Act,
    /// A device can be read.
    Read {
        node: NodeIndex,
        device: usize,
    },
    Arrive {
        node: NodeIndex,
        datagram: Box<Datagram>,
    },
    /// A socket can be read.
    Receive {
        node: NodeIndex,
        carrier: Carrier,
    },
    Tick,
}

struct Scheduled {
    at: Duration,
    number: u64,
    event: Event,
}

pub struct World {
    plan: Plan,
    faults: Faults,
    random: Random,
    base: Instant,
    now: Duration,
    ticks_end: Duration,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    stations: Vec<Station>,
    wire: Wire,
    /// Where each host is, and where it has been since it was last found everywhere.
    places: Vec<NodeIndex>,
    been: Vec<BTreeSet<NodeIndex>>,
    talk: Talk,
    ledger: Ledger,
    order: Order,
    lanes: Lanes,
    /// The wire keeps order: checked as long as it does.
    is_ordered: bool,
    stats: Stats,
    /// Tell everything.
    traces: bool,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed ^ 0x000b_5e55);
        let (base, wire) = (Instant::now(), Wire::new(&plan));
        let stations =
            (0..plan.nodes.len()).map(|node| Station::new(&plan, &wire, node, base)).collect();
        let places: Vec<_> = plan.hosts.iter().map(|host| host.home).collect();
        Self {
            faults: plan.faults.clone(),
            base,
            now: Duration::ZERO,
            ticks_end: Duration::ZERO,
            queue: BinaryHeap::new(),
            scheduled: 0,
            stations,
            wire,
            been: places.iter().map(|place| BTreeSet::from([*place])).collect(),
            places,
            talk: Talk::new(&mut random),
            ledger: Ledger::default(),
            order: Order::default(),
            lanes: Lanes::default(),
            is_ordered: plan.faults.reorder == 0,
            stats: Stats::default(),
            traces: std::env::var_os("TUNCTL_SIM_TRACE").is_some(),
            random,
            plan,
        }
    }

    /// Runs the plan to its end.
    pub fn run(&mut self) -> Result<Stats, super::check::Violation> {
        self.trace(|| format!("{:#?}", self.plan));
        let mut at = Duration::ZERO;
        for _ in 0..self.plan.actions {
            self.schedule(at, Event::Act);
            // Some at once, some after a pause.
            let pause = *self.random.pick(&[0, 0, 20, 200, 2000, 5000]);
            at += Duration::from_micros(pause);
        }
        if self.random.chance(500) {
            self.announce_all();
        }
        self.tick_until(at + Duration::from_millis(200));
        self.drain()?;
        self.check_arrivals(0)?;
        self.settle_down()?;
        self.stats.drops = self.stations.iter().map(|station| station.node.drops().total()).sum();
        Ok(self.stats)
    }

    fn trace(&self, text: impl FnOnce() -> String) {
        if self.traces {
            println!("{:>12.6} {}", self.now.as_secs_f64(), text());
        }
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.queue.push(Scheduled { at, number: self.scheduled, event });
    }

    fn tick_until(&mut self, end: Duration) {
        self.ticks_end = end;
        self.schedule(self.now, Event::Tick);
    }

    fn drain(&mut self) -> Checked {
        let mut events = 0;
        while let Some(Scheduled { at, event, .. }) = self.queue.pop() {
            events += 1;
            ensure!(events < EVENTS_MAX, "loop: no end after {events} events");
            self.now = self.now.max(at);
            self.handle(event)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Checked {
        match event {
            Event::Act => self.act(),
            Event::Read { node, device } => self.read_device(node, device)?,
            Event::Arrive { node, datagram } => self.arrive(node, *datagram),
            Event::Receive { node, carrier } => self.read_socket(node, carrier)?,
            Event::Tick => self.tick()?,
        }
        Ok(())
    }

    /// A host speaks, moves, or the wire changes.
    fn act(&mut self) {
        if !self.ledger.has_room() {
            return;
        }
        if self.random.chance(self.faults.path_changes) {
            self.wire.change_path(&self.plan);
        }
        if self.random.chance(self.faults.moves) {
            self.move_host();
        }
        if self.random.chance(self.faults.junk) {
            self.send_junk();
        }
        let mut scene = Scene {
            plan: &self.plan,
            places: &self.places,
            ledger: &mut self.ledger,
            random: &mut self.random,
        };
        for injection in self.talk.act(&mut scene) {
            self.inject(injection);
        }
    }

    fn move_host(&mut self) {
        let host = self.random.below(self.plan.hosts.len());
        let network = &self.plan.networks[self.plan.hosts[host].net];
        let places = if network.sharing.is_empty() { &network.members } else { &network.sharing };
        if !self.plan.hosts[host].is_mobile {
            return;
        }
        let place = *self.random.pick(places);
        self.places[host] = place;
        self.been[host].insert(place);
        if self.random.chance(700) {
            self.announce(host);
        }
    }

    fn announce_all(&mut self) {
        for host in 0..self.plan.hosts.len() {
            self.announce(host);
        }
    }

    fn announce(&mut self, host: HostIndex) {
        let mut scene = Scene {
            plan: &self.plan,
            places: &self.places,
            ledger: &mut self.ledger,
            random: &mut self.random,
        };
        for injection in self.talk.announce(&mut scene, host) {
            self.inject(injection);
        }
    }

    /// Puts a packet into the queue of the device that its host is behind.
    fn inject(&mut self, injection: Injection) {
        let node = self.places[injection.host];
        self.trace(|| {
            let net = self.plan.hosts[injection.host].net;
            let sent = injection.inputs.iter().filter_map(|input| input.identity.parts().first());
            let sent: Vec<_> = sent.map(|part| (part.0, self.ledger.sents[part.0].to)).collect();
            let (len, vnet) = (injection.bytes.len(), injection.vnet);
            format!(
                "host {} at node {node} net {net} says {sent:?} {len} bytes {vnet:?}",
                injection.host
            )
        });
        let station = &mut self.stations[node];
        let device = station.network_id(self.plan.hosts[injection.host].net).index();
        station.devices[device].push_back(injection);
        if station.devices[device].len() == 1 {
            let delay = Duration::from_micros(self.random.below(60) as u64);
            self.schedule(self.now + delay, Event::Read { node, device });
        }
        self.stats.sent += 1;
    }

    fn arrive(&mut self, node: NodeIndex, datagram: Datagram) {
        let carrier = datagram.carrier;
        let socket = self.stations[node].socket(carrier);
        socket.push_back(datagram);
        if socket.len() == 1 {
            let delay = Duration::from_micros(self.random.below(100) as u64);
            self.schedule(self.now + delay, Event::Receive { node, carrier });
        }
    }

    /// What workers do every tenth of a second: age tables, ask the kernel for path MTUs.
    fn tick(&mut self) -> Checked {
        let now = self.instant();
        for station in &mut self.stations {
            station.node.handle_tick(now);
            for peer in station.peers.clone() {
                if self.random.chance(200)
                    && let Some(id) = station.peer_id(peer)
                {
                    station.node.handle_path_mtu(id, self.wire.mtu(station.index, peer));
                }
            }
        }
        for node in 0..self.stations.len() {
            self.check_tables(node)?;
        }
        if self.now < self.ticks_end {
            self.schedule(self.now + Node::TICK, Event::Tick);
        }
        Ok(())
    }

    fn check_tables(&self, node: NodeIndex) -> Checked {
        let station = &self.stations[node];
        let peers: Vec<_> = station.node.peers().map(|(id, _)| id).collect();
        for (network, net) in station.node.networks().zip(&station.nets) {
            tables::check(network, &peers, settings::learning(&self.plan, *net).limits)?;
        }
        Ok(())
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest, as the heap wants it.
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}
