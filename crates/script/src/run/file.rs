//! Files: made, mapped, cut.

use std::rc::Rc;

use mapcount_model::event::Errno;
use mapcount_model::machine::Mm;
use mapcount_model::machine::config::ShmemMode;
use mapcount_model::machine::files::{FileKind as Lives, ShmemHuge};
use mapcount_model::machine::frames::Root;
use mapcount_model::ops::{mmap, truncate};

use super::process::Done;
use super::{Finding, Runner};
use crate::ast::{Backing, FileKind, Huge, Name, ProcessVerb, ShmemMthpMode, Size};
use crate::diagnostic::{Diagnostic, Span};

impl Runner<'_> {
    /// Makes a file. Nothing of it is cached.
    pub(super) fn make_file(
        &mut self,
        (name, size): (&Name, Size),
        kind: FileKind,
        huge: Option<Huge>,
        span: Span,
    ) -> Done {
        if self.files.contains_key(name.as_str()) {
            let message = format!("there is a file `{}` already", name.as_str());
            let error = Diagnostic::error(message, name.span, "taken");
            return Err(Finding::scenario(
                error.help("take another name, or `truncate` the file that there is"),
            ));
        }
        let pages = self.pages(size, span)?;
        let kind = match kind {
            FileKind::Tmpfs => Lives::Tmpfs,
            FileKind::Memfd => Lives::AnonShmem,
            FileKind::Ext4 => Lives::Ext4,
            FileKind::Xfs => Lives::Xfs,
            FileKind::FsDax => return Err(Finding::not_modelled("DAX of a file system", span)),
        };
        let huge = match huge {
            Some(Huge::Always) => ShmemHuge::Always,
            Some(Huge::WithinSize) => ShmemHuge::WithinSize,
            Some(Huge::Advise) => ShmemHuge::Advise,
            Some(Huge::Never) | None => ShmemHuge::Never,
        };
        let file = self.machine.add_file(kind, huge, pages, false);
        self.files.insert(name.as_str().to_owned(), file);
        Ok(Ok(()))
    }

    /// The file of this name.
    pub(super) fn file(&self, name: &Name) -> Result<Root, Box<Finding>> {
        self.files.get(name.as_str()).copied().ok_or_else(|| {
            let message = format!("there is no file `{}` at this point", name.as_str());
            let error = Diagnostic::error(message, name.span, "not made yet");
            let names: Vec<_> = self.files.keys().map(String::as_str).collect();
            let help = if names.is_empty() {
                format!("make one with `kernel: file {} SIZE tmpfs`", name.as_str())
            } else {
                format!("there is {}", names.join(", "))
            };
            Finding::scenario(error.help(help))
        })
    }

    pub(super) fn truncate(&self, name: &Name, size: Size, span: Span) -> Done {
        let file = self.file(name)?;
        let pages = size.pages_or_zero(self.scenario.pmd_order).ok_or_else(|| {
            let error = Diagnostic::error("this size is not a number of pages", span, "in this step");
            Finding::scenario(error.help("sizes are multiples of 4K and fit 64 bits"))
        })?;
        if truncate::never_ends(&self.machine, file, pages) {
            let what = "a truncation that this kernel never returns from, since a large folio is swapped out of \
                        which a part lies behind the new end,";
            return Err(Finding::not_modelled(what, span));
        }
        truncate::truncate(&self.machine, file, pages);
        Ok(Ok(()))
    }

    pub(super) fn punch(&self, name: &Name, (start, end): (u64, u64)) -> Done {
        let file = self.file(name)?;
        // fallocate(2) wants a length.
        if start >= end {
            return Ok(Err(Errno::Einval));
        }
        truncate::punch(&self.machine, file, (start, end));
        Ok(Ok(()))
    }

    /// Sizes of shared memory have files in sysfs from 6.11 on.
    pub(super) fn shmem_mthp(&self, size: Size, mode: ShmemMthpMode, span: Span) -> Done {
        let order = self.pages(size, span)?.trailing_zeros() as usize;
        let m = &self.machine;
        let pmd = usize::from(m.config.borrow().pmd_order);
        let smallest = usize::from(m.policy.shmem_mthp_smallest);
        if !m.policy.shmem_mthp || order > pmd || (order < smallest && order != pmd) {
            return Ok(Err(Errno::Enoent));
        }
        m.config.borrow_mut().shmem_sizes[order] = match mode {
            ShmemMthpMode::Always => ShmemMode::Always,
            ShmemMthpMode::Inherit => ShmemMode::Inherit,
            ShmemMthpMode::WithinSize => ShmemMode::WithinSize,
            ShmemMthpMode::Advise => ShmemMode::Advise,
            ShmemMthpMode::Never => ShmemMode::Never,
        };
        Ok(Ok(()))
    }

    /// Maps at the window's start what the verb says.
    pub(super) fn map(
        &self,
        mm: &Rc<Mm>,
        range: (u64, u64),
        verb: &ProcessVerb,
        (protection, advice): (
            mapcount_model::machine::vma::Protection,
            mapcount_model::machine::vma::ThpAdvice,
        ),
    ) -> Result<(), Box<Finding>> {
        let ProcessVerb::Mmap { backing, shared, .. } = verb else { unreachable!("called for mmap") };
        let m = &self.machine;
        match backing {
            Backing::File { file, from_page } => {
                let part = mmap::Part { file: self.file(file)?, offset: *from_page, shared: *shared };
                mmap::map_file(m, mm, range, part, protection, advice);
            }
            _ if *shared => mmap::map_shared(m, mm, range, protection, advice),
            _ => mmap::map(m, mm, range, protection, advice),
        }
        Ok(())
    }
}
