//! A kernel that is driven and looked at: a step goes in, a line of a recording comes out.

use mapcount_script::ast::{Action, Hold, Item, KernelVerb, Scenario, Step};
use mapcount_script::trace::{self, VERSION};

use crate::observer::{self, Observation, Observer};
use crate::signals::interrupted;
use crate::statistics::Statistics;
use crate::subject::{Ended, Options, Subject, Trouble};
use crate::{Unavailable, live};

/// A recording's step is looked at so often until two looks agree.
const SAME: u32 = 6;

/// The running kernel, with the subject that does steps on it and an observer that looks.
pub struct Driven {
    subject: Subject,
    observer: Box<dyn Observer>,
    /// What observers that see more lack.
    lacking: observer::Lacking,
    kernel: String,
    /// The release whose behaviour it has, which is what recordings name.
    patched: String,
    statistics: Option<Statistics>,
    /// Nobody else was seen to use memory.
    is_quiet: bool,
    /// Readings that had to be repeated because something changed under way.
    retries: u64,
    /// Observations that never came to rest.
    unsettled: u64,
}

/// What a step came to.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// The line of the recording.
    Step(Box<trace::Step>),
    /// The step could not be done on this machine: why.
    Unsupported(String),
}

impl Driven {
    /// Takes the kernel over.
    ///
    /// # Errors
    /// What is missing: root, transparent huge pages, an observer.
    pub fn open(choice: observer::Choice, options: &Options) -> Result<Driven, Unavailable> {
        let (kernel, patched) = (live::release()?, live::patched_release()?);
        // Processes come from a fork of this program while it is small.
        let subject = Subject::start(options)?;
        let (observer, lacking) = match choice {
            observer::Choice::Auto => observer::best()?,
            one => (observer::open(one)?, Vec::new()),
        };
        Ok(Driven {
            subject,
            observer,
            lacking,
            kernel,
            patched,
            statistics: None,
            is_quiet: false,
            retries: 0,
            unsettled: 0,
        })
    }

    /// Has the statistics of the system watched, or not. `auto` looks whether anybody else changes them, which
    /// makes them worthless here. Returns whether they are watched, and if not, why.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn watch_statistics(&mut self, watch: Watch) -> Result<Result<(), String>, Unavailable> {
        let mut statistics = Statistics::new()?;
        let verdict = match watch {
            Watch::Never => Err("not asked for".to_owned()),
            Watch::Always | Watch::IfQuiet => {
                let quiet = statistics.is_quiet(&self.subject.own_processes());
                self.is_quiet = quiet.is_ok();
                if watch == Watch::Always { Ok(()) } else { quiet }
            }
        };
        self.observer.watch_system(false)?;
        self.statistics = verdict.is_ok().then_some(statistics);
        Ok(verdict)
    }

    /// Why this machine cannot do a step well enough to compare it, wherever in a scenario it stands; `None` if
    /// it can.
    pub fn lacks(&self, action: &Action) -> Option<&'static str> {
        match action {
            Action::Kernel(KernelVerb::Lru(Hold::Hold)) if !self.is_quiet => {
                Some("others on this machine fill the same batches")
            }
            Action::Kernel(KernelVerb::DropCaches(_)) if !self.is_quiet => {
                Some("others on this machine use its page cache")
            }
            other => self.subject.lacks(other),
        }
    }

    /// The subject.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The release whose behaviour the kernel has: its own, or the level of fixes that it says it has.
    pub fn patched_release(&self) -> &str {
        &self.patched
    }

    /// The release of the kernel, as it says itself.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Which observer looks.
    pub fn observer(&self) -> &'static str {
        self.observer.name()
    }

    /// What observers that see more than this one lack, if it was chosen because it is there.
    pub fn lacking(&self) -> &[(&'static str, Unavailable)] {
        &self.lacking
    }

    /// Readings that had to be repeated, and observations that never came to rest, so far.
    pub const fn unrest(&self) -> (u64, u64) {
        (self.retries, self.unsettled)
    }

    /// Starts a scenario; `Err` in the inner result says why this machine cannot run it.
    ///
    /// # Errors
    /// If the machine is out of control.
    pub fn begin(&mut self, scenario: &Scenario) -> Result<Result<(), String>, Trouble> {
        let begun = self.subject.begin(scenario)?;
        if begun.is_ok()
            && let Some(statistics) = &mut self.statistics
        {
            self.subject.settle_thoroughly(0)?;
            statistics.start(&self.subject.own_processes())?;
        }
        Ok(begun)
    }

    /// Does a step and looks once at what it left. What is not as expected is to be looked at again.
    ///
    /// # Errors
    /// If the step makes no sense, or the machine is out of control.
    pub fn step(&mut self, step: &Step, number: u64, scenario: &str) -> Result<Seen, Trouble> {
        let outcome = match self.subject.step(step)? {
            Ended::With(outcome) => outcome,
            Ended::Unsupported(why) => return Ok(Seen::Unsupported(why)),
        };
        self.subject.settle();
        let mut seen = trace::Step {
            v: Some(VERSION),
            kernel: Some(self.patched.clone()),
            scenario: Some(scenario.to_owned()),
            step: number,
            op: step.text.to_string(),
            outcome: Some(outcome.to_owned()),
            ..trace::Step::default()
        };
        let observation = self.observer.glance(&self.subject.watched())?;
        self.take(observation, &mut seen)?;
        Ok(Seen::Step(Box::new(seen)))
    }

    /// Looks again at what the last step left, with the batches of every CPU emptied, and with more time each
    /// `round` for what ends by itself.
    ///
    /// # Errors
    /// If the machine is out of control.
    pub fn look_again(&mut self, seen: &mut trace::Step, round: u32) -> Result<(), Trouble> {
        self.subject.settle_thoroughly(round)?;
        let observation = self.observer.observe(&self.subject.watched())?;
        self.take(observation, seen)
    }

    /// Runs a scenario and looks at each step until two looks agree. What it expects is not looked at. Stops
    /// where the machine cannot do a step, which is in the result.
    ///
    /// # Errors
    /// If a step makes no sense, or the machine is out of control.
    pub fn record(&mut self, scenario: &Scenario, name: &str) -> Result<Recorded, Trouble> {
        let recorded = self.record_steps(scenario, name);
        let ended = self.end();
        let recorded = recorded?;
        ended?;
        Ok(recorded)
    }

    fn record_steps(&mut self, scenario: &Scenario, name: &str) -> Result<Recorded, Trouble> {
        let mut steps: Vec<trace::Step> = Vec::new();
        if let Err(why) = self.begin(scenario)? {
            return Ok(Recorded { steps, stopped: Some(why) });
        }
        let all = scenario.items.iter().filter_map(|item| match item {
            Item::Step(step) => Some(step),
            Item::Expect(_) => None,
        });
        for (number, step) in all.enumerate() {
            if interrupted() {
                return Ok(Recorded { steps, stopped: Some("interrupted".to_owned()) });
            }
            // What others disturb is no evidence.
            let seen = match self.lacks(&step.action) {
                Some(why) => Seen::Unsupported(why.to_owned()),
                None => self.step(step, number as u64, name)?,
            };
            match seen {
                Seen::Unsupported(why) => {
                    let why = format!("step {number} `{}`: {why}", step.text);
                    return Ok(Recorded { steps, stopped: Some(why) });
                }
                Seen::Step(mut seen) => {
                    for round in 0..SAME {
                        let before = seen.clone();
                        self.look_again(&mut seen, round)?;
                        if before == seen {
                            break;
                        }
                    }
                    steps.push(*seen);
                }
            }
        }
        Ok(Recorded { steps, stopped: None })
    }

    /// Ends the processes of the scenario.
    ///
    /// # Errors
    /// If one of them does not end.
    pub fn end(&mut self) -> Result<(), Trouble> {
        self.subject.end()
    }

    fn take(&mut self, observation: Observation, seen: &mut trace::Step) -> Result<(), Trouble> {
        self.retries += observation.retries;
        self.unsettled += u64::from(!observation.settled);
        seen.processes = Some(observation.processes);
        seen.folios = Some(observation.folios);
        seen.system = match &mut self.statistics {
            Some(statistics) => Some(statistics.changes(&self.subject.own_processes())?),
            None => None,
        };
        Ok(())
    }
}

/// A recording.
#[derive(Clone, PartialEq, Debug)]
pub struct Recorded {
    /// Its lines.
    pub steps: Vec<trace::Step>,
    /// Why it does not reach to the scenario's end.
    pub stopped: Option<String>,
}

/// Whether the statistics of the system are part of what is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Watch {
    /// If nobody else on the machine changes them.
    #[default]
    IfQuiet,
    /// In any case.
    Always,
    /// No.
    Never,
}
