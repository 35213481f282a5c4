//! The scenes of a run: one for each case, and those for the measures of scale.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Progress, Task};
use crate::api::client::Client;
use crate::bench::BenchError;
use crate::bench::case::Case;
use crate::bench::measure::Measure;
use crate::bench::meter;
use crate::bench::report::Kind;
use crate::bench::scene::{Scale, Scene, SceneOptions};
use crate::bench::summary::{Subject, kind_of};
use crate::bench::traffic::Stop;
use crate::lab::Host;

/// What the left daemon knows in the two scenes of [`Measure::Table`].
const SMALL: Scale = Scale { peers: 2, learned: 0 };
const LARGE: Scale = Scale { peers: 1000, learned: 1_000_000 };

/// All scenes of a run.
pub(super) struct Stage {
    /// In the order of the plan's cases; the text says why there is no scene.
    scenes: Vec<(Case, Result<Scene, String>)>,
    table: Option<Result<Table, String>>,
    spread: Option<Result<Scene, String>>,
}

/// The scenes of [`Measure::Table`].
pub(super) struct Table {
    pub(super) small: Scene,
    pub(super) large: Scene,
}

impl Stage {
    /// Sets up all scenes that the task needs.
    pub(super) fn set_up(
        task: &Task,
        directory: &Path,
        stop: Stop<'_>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, BenchError> {
        check_congestion(&task.congestion)?;
        let options = options(task, None);
        let mut scenes = Vec::with_capacity(task.plan.cases.len());
        let mut first_fault = None;
        for &case in &task.plan.cases {
            check(stop)?;
            progress(&Progress::SettingUp { case });
            match Scene::set_up(case, &options, directory) {
                Ok(scene) => scenes.push((case, Ok(scene))),
                Err(error) if task.is_named => return Err(error),
                Err(error) => {
                    scenes.push((case, Err(error.to_string())));
                    first_fault.get_or_insert(error);
                }
            }
        }
        if let Some(fault) = first_fault
            && scenes.iter().all(|(_, scene)| scene.is_err())
        {
            return Err(fault);
        }
        let mut stage = Self { scenes, table: None, spread: None };
        stage.set_up_scale(task, directory, stop, progress)?;
        Ok(stage)
    }

    fn set_up_scale(
        &mut self,
        task: &Task,
        directory: &Path,
        stop: Stop<'_>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), BenchError> {
        let case = Case::VxlanTap;
        let has_case = self.scenes.iter().any(|(of, scene)| *of == case && scene.is_ok());
        let wants = |measure| has_case && task.plan.measures.contains(&measure);
        let set_up = |scale| Scene::set_up(case, &options(task, Some(scale)), directory);
        if wants(Measure::Table) {
            check(stop)?;
            progress(&Progress::SettingUp { case });
            let table = set_up(SMALL).and_then(|small| Ok(Table { small, large: set_up(LARGE)? }));
            self.table = Some(table.map_err(|error| error.to_string()));
        }
        if wants(Measure::Spread) {
            check(stop)?;
            progress(&Progress::SettingUp { case });
            self.spread = Some(set_up(SMALL).map_err(|error| error.to_string()));
        }
        check(stop)
    }

    /// Gives the scene of a case by its index in the plan; `None` if it could not be set up.
    pub(super) fn scene(&self, index: usize) -> Option<&Scene> {
        self.scenes.get(index)?.1.as_ref().ok()
    }

    /// Gives the scenes of [`Measure::Table`], or why there are none.
    pub(super) fn table(&self) -> Result<&Table, &str> {
        present(self.table.as_ref())
    }

    /// Gives the scene of [`Measure::Spread`], or why there is none.
    pub(super) fn spread(&self) -> Result<&Scene, &str> {
        present(self.spread.as_ref())
    }

    /// Gives what the report tells of each case as a whole.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        let subject = |(case, scene): &(Case, Result<Scene, String>)| match scene {
            Ok(scene) => Subject {
                case: *case,
                fault: None,
                resident_bytes: resident_bytes(scene),
                drops: drops(scene),
            },
            Err(fault) => Subject {
                case: *case,
                fault: Some(fault.clone()),
                resident_bytes: None,
                drops: None,
            },
        };
        self.scenes.iter().map(subject).collect()
    }

    /// Ends all scenes; gives the first that did not end well.
    pub(super) fn tear_down(self) -> Result<(), BenchError> {
        let scenes = self.scenes.into_iter().filter_map(|(_, scene)| scene.ok());
        let table = self.table.and_then(Result::ok).map(|table| [table.small, table.large]);
        let spread = self.spread.and_then(Result::ok);
        let all = scenes.chain(table.into_iter().flatten()).chain(spread);
        let ends: Vec<_> = all.map(Scene::tear_down).collect();
        ends.into_iter().collect()
    }
}

/// Fails if the user wants an end.
pub(super) fn check(stop: Stop<'_>) -> Result<(), BenchError> {
    if stop() { Err(BenchError::Interrupted) } else { Ok(()) }
}

/// Fails if the kernel has no such congestion control, or does not let us have it.
fn check_congestion(name: &str) -> Result<(), BenchError> {
    let known = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let set = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_congestion(name.as_bytes())
    };
    Host::new("probe")?.run(set).map_err(|source| BenchError::Congestion {
        name: name.to_owned(),
        source,
        known: fs::read_to_string(known).unwrap_or_default().trim().to_owned(),
    })
}

fn options(task: &Task, scale: Option<Scale>) -> SceneOptions {
    SceneOptions { underlay: task.underlay, mtu: task.mtu, settings: task.settings.clone(), scale }
}

fn present<T>(scenes: Option<&Result<T, String>>) -> Result<&T, &str> {
    match scenes {
        Some(Ok(scenes)) => Ok(scenes),
        Some(Err(fault)) => Err(fault),
        None => Err("it was not set up"),
    }
}

/// Gives the memory in use by the daemon of a scene that has the most; `None` if there are none,
/// or one is gone.
fn resident_bytes(scene: &Scene) -> Option<u64> {
    let each: Vec<u64> = scene
        .pids()
        .into_iter()
        .map(|pid| meter::resident_bytes(pid).ok())
        .collect::<Option<_>>()?;
    each.into_iter().max()
}

/// Gives what our daemons of a scene dropped, by reason; `None` if there are none, or one does not
/// answer.
fn drops(scene: &Scene) -> Option<BTreeMap<String, u64>> {
    if kind_of(scene.case()) != Kind::Ours {
        return None;
    }
    let mut all = BTreeMap::new();
    for daemon in scene.daemons() {
        let drops = Client::connect(&daemon.socket()).and_then(|mut client| client.drops()).ok()?;
        for reason in drops.reasons.into_iter().filter(|reason| reason.packets > 0) {
            *all.entry(reason.reason.into_owned()).or_default() += reason.packets;
        }
    }
    Some(all)
}
