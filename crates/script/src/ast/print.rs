//! The canonical form of a scenario: what `parse` reads back as the same scenario.

use std::fmt::{self, Display, Formatter, Write};

use crate::ast::{
    Action, Backing, Beyond, Expect, FieldName, Item, KernelAlternative, KernelSet, KernelVerb, Name,
    Outcome, Pages, Path, ProcessVerb, Region, Scenario, Size, Step, Value,
};

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(title) = &self.title {
            f.write_str("title \"")?;
            for c in title.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(c)?;
            }
            f.write_str("\"\n")?;
        }
        if self.pmd_order != 9 {
            writeln!(f, "pmd_order {}", self.pmd_order)?;
        }
        if let Some(kernels) = &self.kernels {
            writeln!(f, "kernels {kernels}")?;
        }
        if self.nodes != 1 {
            writeln!(f, "nodes {}", self.nodes)?;
        }
        self.items.iter().try_for_each(|item| writeln!(f, "{item}"))
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Item::Step(step) => step.fmt(f),
            Item::Expect(expect) => expect.fmt(f),
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.action.fmt(f)?;
        match self.outcome {
            Outcome::Ok => Ok(()),
            outcome => write!(f, " => {outcome}"),
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Ok => f.write_str("ok"),
            Outcome::Errno(errno) => errno.fmt(f),
            Outcome::Any => f.write_str("any"),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Action::Process { name, verb } => write!(f, "{name}: {verb}"),
            Action::Kernel(verb) => write!(f, "kernel: {verb}"),
        }
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Display for Region {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(process) = &self.process {
            write!(f, "{process}.")?;
        }
        write!(f, "{}{}", self.mapping, self.pages)
    }
}

impl Display for Pages {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Pages::All => Ok(()),
            Pages::One(page) => write!(f, "[{page}]"),
            Pages::Range { start, end: Some(end) } => write!(f, "[{start}..{end}]"),
            Pages::Range { start, end: None } => write!(f, "[{start}..]"),
        }
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Size::Bytes(0) => f.write_str("0K"),
            Size::Bytes(bytes) => {
                let units = [(30, "G"), (20, "M"), (10, "K"), (0, "")];
                let (shift, unit) =
                    units.into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift).unwrap_or((0, ""));
                write!(f, "{}{unit}", bytes >> shift)
            }
            Size::Pages(pages) => write!(f, "{pages}p"),
            Size::Pmds(1) => f.write_str("pmd"),
            Size::Pmds(pmds) => write!(f, "{pmds}pmd"),
        }
    }
}

impl Display for Backing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Backing::Anon => Ok(()),
            Backing::File { file, from_page: 0 } => write!(f, " of {file}"),
            Backing::File { file, from_page } => write!(f, " of {file} from {from_page}"),
            Backing::Hugetlb => f.write_str(" hugetlb"),
            Backing::Dax(align) => write!(f, " dax {align}"),
        }
    }
}

impl Display for ProcessVerb {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ProcessVerb::Mmap { name, size, backing, shared, advice, read_only } => {
                write!(f, "mmap {name} {size}{backing}")?;
                match (shared, backing) {
                    (true, _) => f.write_str(" shared")?,
                    // Without the word a device is mapped shared.
                    (false, Backing::Dax(_)) => f.write_str(" private")?,
                    (false, _) => {}
                }
                if let Some(advice) = advice {
                    write!(f, " {advice}")?;
                }
                if *read_only { f.write_str(" ro") } else { Ok(()) }
            }
            ProcessVerb::Reserve { name, size } => write!(f, "reserve {name} {size}"),
            ProcessVerb::Read(region) => write!(f, "read {region}"),
            ProcessVerb::Write(region) => write!(f, "write {region}"),
            ProcessVerb::Fill(region, byte) => write!(f, "fill {region} {byte}"),
            ProcessVerb::Munmap(region) => write!(f, "munmap {region}"),
            ProcessVerb::Mprotect(region, protection) => write!(f, "mprotect {region} {protection}"),
            ProcessVerb::Mlock(region) => write!(f, "mlock {region}"),
            ProcessVerb::Munlock(region) => write!(f, "munlock {region}"),
            ProcessVerb::Mremap { from, to, page } => write!(f, "mremap {from} to {to}[{page}]"),
            ProcessVerb::Madvise(region, advice) => write!(f, "madvise {region} {advice}"),
            ProcessVerb::Fork(child) => write!(f, "fork {child}"),
            ProcessVerb::Exit => f.write_str("exit"),
            ProcessVerb::Get(region) => write!(f, "get {region}"),
            ProcessVerb::Put(region) => write!(f, "put {region}"),
            ProcessVerb::Pin(region) => write!(f, "pin {region}"),
            ProcessVerb::Unpin(region) => write!(f, "unpin {region}"),
            ProcessVerb::SplitPmd(region) => write!(f, "split_pmd {region}"),
            ProcessVerb::Userfault(region, action) => write!(f, "userfault {region} {action}"),
        }
    }
}

impl Display for KernelVerb {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            KernelVerb::File { name, size, kind, huge } => {
                write!(f, "file {name} {size} {kind}")?;
                huge.iter().try_for_each(|huge| write!(f, " huge={huge}"))
            }
            KernelVerb::Truncate { file, size } => write!(f, "truncate {file} {size}"),
            KernelVerb::Punch { file, start, end } => write!(f, "punch {file}[{start}..{end}]"),
            KernelVerb::DropCaches(what) => write!(f, "drop_caches {what}"),
            KernelVerb::PutBack => f.write_str("putback"),
            KernelVerb::Split { region, order, at, list } => {
                write!(f, "split {region}")?;
                order.iter().try_for_each(|order| write!(f, " order {order}"))?;
                at.iter().try_for_each(|at| write!(f, " at {at}"))?;
                f.write_str(if *list { " list" } else { "" })
            }
            KernelVerb::Migrate { region, node, all } => {
                write!(f, "migrate {region} to {node}{}", if *all { " all" } else { "" })
            }
            KernelVerb::Beyond(region, Beyond::Device) => write!(f, "migrate {region} to device"),
            KernelVerb::Beyond(region, what) => write!(f, "{what} {region}"),
            KernelVerb::Khugepaged(region) => write!(f, "khugepaged {region}"),
            KernelVerb::Ksm(passes) => write!(f, "ksm {passes}"),
            KernelVerb::SwapOn(size) => {
                f.write_str("swap on")?;
                size.iter().try_for_each(|size| write!(f, " {size}"))
            }
            KernelVerb::SwapOff => f.write_str("swap off"),
            KernelVerb::Hugetlb(pages) => write!(f, "hugetlb {pages}"),
            KernelVerb::Thp(mode) => write!(f, "thp {mode}"),
            KernelVerb::Mthp(size, mode) => write!(f, "mthp {size} {mode}"),
            KernelVerb::ShmemMthp(size, mode) => write!(f, "shmem_mthp {size} {mode}"),
            KernelVerb::Tune { key, value } => write!(f, "tune {key} {value}"),
            KernelVerb::Lru(hold) => write!(f, "lru {hold}"),
        }
    }
}

impl Display for Expect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("expect")?;
        if let Some(kernels) = &self.kernels {
            write!(f, "[{kernels}]")?;
        }
        write!(f, " {} {} {}", self.path, self.op, self.value)
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Path::Page { process, mapping, page, field } => write!(f, "{process}.{mapping}[{page}].{field}"),
            Path::Mapping { process, mapping, field } => write!(f, "{process}.{mapping}.{field}"),
            Path::Process { process, field } => write!(f, "{process}.{field}"),
            Path::System { field } => write!(f, "system.{field}"),
        }
    }
}

impl Display for FieldName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        self.index.iter().try_for_each(|index| write!(f, "[{index}]"))
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => value.fmt(f),
            Value::Bool(value) => value.fmt(f),
            Value::Null => f.write_str("null"),
            Value::Text(name) => name.fmt(f),
        }
    }
}

impl Display for KernelSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, alternative) in self.alternatives.iter().enumerate() {
            write!(f, "{}{alternative}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl Display for KernelAlternative {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            KernelAlternative::Releases(range) => range.fmt(f),
            KernelAlternative::Kconfig { series, kconfig } => write!(f, "{series}-{kconfig}"),
            KernelAlternative::Scheme(id) => id.fmt(f),
        }
    }
}
