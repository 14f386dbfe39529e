//! Memory of DAX devices, and what /proc says of it.

/// Hands the rows of this room on, behind those that came before.
macro_rules! device_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// Mappings of DAX devices are mixed maps (VM_MIXEDMAP), which fork copies.
        dax_is_mixed_map: bool = [
            (FIRST, true, "dax_mmap(), drivers/dax/device.c (v4.18; not modelled)"),
            (at(4, 19), false, "dax_mmap(), drivers/dax/device.c (v5.10), Linux commit e1fb4a086495 (\"dax: remove VM_MIXEDMAP for fsdax and device dax\", v4.19)"),
        ],
        /// Memory of DAX devices is in folios as large as the device's alignment; before, each page was one.
        dax_compound: bool = [
            (FIRST, false, "dev_dax_probe(), drivers/dax/device.c (v5.10)"),
            (at(5, 17), true, "dev_dax_probe(), vmemmap_shift, Linux commit 14606001efb4 (\"device-dax: compound devmap support\", v5.17)"),
        ],
        /// Mappings of DAX devices own references and are counted as those of files are.
        dax_counts: bool = [
            (FIRST, false, "vmf_insert_mixed(), vmf_insert_pfn_pmd(), vmf_insert_pfn_pud() (v5.10, v6.12)"),
            (at(6, 15), true, "vmf_insert_folio_pmd(), vmf_insert_folio_pud(), mm/huge_memory.c (v7.2); \"device/dax: properly refcount device dax pages when mapping\" (v6.15)"),
        ],
        /// mprotect changes PUDs; before, it took them for damaged and cleared them.
        mprotect_knows_puds: bool = [
            (FIRST, false, "change_pud_range(), pud_none_or_clear_bad(), mm/mprotect.c (v5.10, v6.1)"),
            (at(6, 12), true, "change_pud_range(), mm/mprotect.c, change_huge_pud() (v6.12)"),
        ],
        /// smaps sees PMDs of devices though nobody counts them.
        smaps_sees_device_pmds: bool = [
            (FIRST, true, "smaps_pmd_entry(), follow_trans_huge_pmd() (v5.10, v6.1)"),
            (at(6, 6), false, "smaps_pmd_entry(), vm_normal_page_pmd() (v6.12; start unverified)"),
        ],
        /// smaps leaves out PMDs that nobody may use (PROT_NONE).
        smaps_skips_protnone_pmds: bool = [
            (FIRST, false, "smaps_pmd_entry(), follow_trans_huge_pmd() (v5.10)"),
            (at(6, 1), true, "the same functions, gup_can_follow_protnone() (v6.1)"),
            (at(6, 6), false, "smaps_pmd_entry(), fs/proc/task_mmu.c (v6.12; start unverified)"),
        ],
        }
    };
}
pub(super) use device_rows;
