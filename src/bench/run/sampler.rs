//! One sample: traffic through one scene, with meter and counters around it.

use std::io;
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use super::Task;
use super::stage::{Stage, check};
use crate::bench::BenchError;
use crate::bench::measure::{Measure, Pace, Packets};
use crate::bench::meter::{Meter, Usage};
use crate::bench::report::{Cost, Sample};
use crate::bench::scene::Scene;
use crate::bench::traffic::{
    self, Choice, RttFigure, Stop, TcpFigure, TcpLoad, UdpFigure, UdpLoad,
};
use crate::bench::values::{Counters, Values};

/// The share of packets that may be lost at a rate that counts as lossless.
const LOSS_MAX: f64 = 0.001;

/// Sockets of [`Packets::Mixed`] and of [`Measure::Spread`].
const FLOWS: usize = 64;

/// The destinations of [`Measure::Spread`].
const DESTINATIONS: usize = 10_000;

/// How much longer the stream of [`Measure::RttLoaded`] flows than is asked beside it.
const LONGER: Duration = Duration::from_millis(50);

/// Makes the samples of a run.
pub(super) struct Sampler<'a> {
    task: &'a Task,
    stage: &'a Stage,
    stop: Stop<'a>,
}

/// Why there is no sample.
struct Fault(String);

/// What was measured, and what it cost.
type Measured = (Values, Usage);

impl<'a> Sampler<'a> {
    pub(super) fn new(task: &'a Task, stage: &'a Stage, stop: Stop<'a>) -> Self {
        Self { task, stage, stop }
    }

    /// Makes a sample of the case with this index in the plan. One that fails is a sample with a
    /// fault.
    pub(super) fn sample(&self, measure: Measure, index: usize) -> Result<Sample, BenchError> {
        check(self.stop)?;
        let Some(scene) = self.stage.scene(index) else {
            return Ok(Sample { fault: Some("it was not set up".into()), ..Sample::default() });
        };
        let measured = match measure {
            Measure::Tcp(streams) => self.tcp(scene, streams),
            Measure::Udp(packets, Pace::Overload) => self.udp(scene, packets),
            Measure::Udp(packets, Pace::Lossless) => self.lossless(scene, packets),
            Measure::Rtt => self.rtt(scene),
            Measure::RttLoaded => self.rtt_loaded(scene),
            Measure::Table => self.table(),
            Measure::Spread => self.spread(),
        };
        match measured {
            // One that was cut short by Ctrl-C says nothing, whatever it says.
            _ if (self.stop)() => Err(BenchError::Interrupted),
            Err(Fault(fault)) => Ok(Sample { fault: Some(fault), ..Sample::default() }),
            Ok((values, usage)) => Ok(Sample {
                values: values.into_map(),
                usage: Some(Cost::of(&usage)),
                ..Sample::default()
            }),
        }
    }

    fn tcp(&self, scene: &Scene, streams: u32) -> Result<Measured, Fault> {
        let before = self.counters(scene)?;
        let (figure, usage) = self.metered(&[scene], || self.tcp_figure(scene, streams))?;
        let counted = self.counters(scene)?.since(&before);
        Ok((Values::of_tcp(scene.case(), &figure, &usage, &counted), usage))
    }

    fn udp(&self, scene: &Scene, packets: Packets) -> Result<Measured, Fault> {
        let load = self.udp_load(packets);
        let send = || traffic::udp(scene.route(), &load, self.stop);
        let (figure, usage) = self.metered(&[scene], send)?;
        Ok((Values::of_udp(scene.case(), &figure, &usage), usage))
    }

    fn lossless(&self, scene: &Scene, packets: Packets) -> Result<Measured, Fault> {
        let load = self.udp_load(packets);
        let search = || traffic::udp_lossless(scene.route(), &load, LOSS_MAX, self.stop);
        let (figure, usage) = self.metered(&[scene], search)?;
        Ok((Values::of_lossless(&figure), usage))
    }

    fn rtt(&self, scene: &Scene) -> Result<Measured, Fault> {
        let ask = || traffic::rtt(scene.route(), self.task.plan.time, self.stop);
        let (figure, usage) = self.metered(&[scene], ask)?;
        Ok((Values::of_rtt(&figure, None), usage))
    }

    fn rtt_loaded(&self, scene: &Scene) -> Result<Measured, Fault> {
        let ((load, figure), usage) = self.metered(&[scene], || self.rtt_beside_tcp(scene))?;
        Ok((Values::of_rtt(&figure, Some(&load)), usage))
    }

    fn rtt_beside_tcp(&self, scene: &Scene) -> io::Result<(TcpFigure, RttFigure)> {
        let plan = &self.task.plan;
        let load = TcpLoad { time: plan.time + LONGER, ..self.tcp_load(1) };
        thread::scope(|scope| {
            let stream = scope.spawn(|| traffic::tcp(scene.route(), &load, self.stop));
            let warm = traffic::Over::default().wait(plan.warm_up(), self.stop);
            let figure = warm.and_then(|()| traffic::rtt(scene.route(), plan.time, self.stop));
            let load = stream.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((load?, figure?))
        })
    }

    fn table(&self) -> Result<Measured, Fault> {
        let scenes = self.stage.table().map_err(|fault| Fault(fault.to_owned()))?;
        let both = || {
            let small = self.tcp_figure(&scenes.small, 1)?;
            Ok((small, self.tcp_figure(&scenes.large, 1)?))
        };
        let ((small, large), usage) = self.metered(&[&scenes.small, &scenes.large], both)?;
        Ok((Values::of_table(&small, &large), usage))
    }

    fn spread(&self) -> Result<Measured, Fault> {
        let scene = self.stage.spread().map_err(|fault| Fault(fault.to_owned()))?;
        // Taught anew each time: entries age.
        let destinations = scene.prepare_spread(DESTINATIONS)?;
        let both = || {
            let one = self.spread_figure(scene, destinations.get(..1).unwrap_or_default())?;
            Ok((one, self.spread_figure(scene, &destinations)?))
        };
        let ((one, many), usage) = self.metered(&[scene], both)?;
        Ok((Values::of_spread(&one, &many), usage))
    }

    fn tcp_figure(&self, scene: &Scene, streams: u32) -> io::Result<TcpFigure> {
        traffic::tcp(scene.route(), &self.tcp_load(streams), self.stop)
    }

    fn spread_figure(&self, scene: &Scene, destinations: &[Ipv4Addr]) -> io::Result<UdpFigure> {
        let route = scene.route();
        let [_, interface] = scene.interfaces();
        let spread = traffic::Spread {
            from: route.from,
            to: route.to,
            interface,
            destinations,
            choice: Choice::Zipf,
        };
        let load = UdpLoad { flows: FLOWS, ..self.udp_load(Packets::Small) };
        traffic::udp_spread(spread, &load, self.stop)
    }

    fn tcp_load(&self, streams: u32) -> TcpLoad<'_> {
        TcpLoad {
            streams: streams as usize,
            time: self.task.plan.time,
            warm_up: self.task.plan.warm_up(),
            congestion: &self.task.congestion,
        }
    }

    fn udp_load(&self, packets: Packets) -> UdpLoad {
        let (flows, lengths) = match packets {
            Packets::Small => (1, vec![64]),
            Packets::Mixed => (FLOWS, vec![64, 200, 1400]),
        };
        UdpLoad { flows, lengths, time: self.task.plan.time, rate_pps: None }
    }

    fn counters(&self, scene: &Scene) -> Result<Counters, Fault> {
        let statuses = scene.statuses()?;
        let workers = statuses.into_iter().map(|status| status.state.worker).collect();
        Ok(Counters { workers, wire: scene.wire_counters()?, mtu: self.task.mtu })
    }

    /// Does something and meters it.
    fn metered<T>(
        &self,
        scenes: &[&Scene],
        work: impl FnOnce() -> io::Result<T>,
    ) -> Result<(T, Usage), Fault> {
        let pids: Vec<_> = scenes.iter().flat_map(|scene| scene.pids()).collect();
        let meter = Meter::start(&pids)?;
        let done = work()?;
        Ok((done, meter.stop()?))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<BenchError> for Fault {
    fn from(error: BenchError) -> Self {
        Self(error.to_string())
    }
}
