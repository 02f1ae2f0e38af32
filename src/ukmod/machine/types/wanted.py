"""The types that the kernel half needs, which are the contents of a profile.

Types contained in a listed type are included; types it only points to are not, unless listed too. A name that
a kernel lacks is skipped when a profile is made.
"""

from __future__ import annotations

__all__ = ["FIRST", "WANTED"]

WANTED: tuple[str, ...] = tuple(
    """
    task_struct thread_info pcpu_hot mm_struct signal_struct sighand_struct k_sigaction sigaction
    sigpending sigset_t sigqueue kernel_siginfo pid upid pid_namespace nsproxy cred kthread fs_struct
    files_struct subprocess_info

    module module_kobject module_attribute module_sect_attrs module_layout module_memory module_use
    mod_arch_specific mod_kallsyms kernel_param kernel_param_ops kparam_array kparam_string
    kernel_symbol bug_entry exception_table_entry static_key static_key_mod jump_entry static_call_site
    tracepoint orc_entry alt_instr paravirt_patch_site paravirt_patch_template pv_irq_ops
    dev_printk_info

    list_head hlist_head hlist_node hlist_nulls_node rb_node rb_root rb_root_cached llist_head
    llist_node callback_head rcu_head rcu_work srcu_struct notifier_block atomic_notifier_head
    blocking_notifier_head raw_notifier_head srcu_notifier_head kobject kset kobj_type kobj_attribute
    attribute attribute_group kref refcount_t refcount_struct atomic_t atomic64_t atomic_long_t
    percpu_ref percpu_counter

    completion swait_queue_head swait_queue wait_queue_head wait_queue_entry wait_bit_queue_entry
    work_struct delayed_work workqueue_struct timer_list hrtimer hrtimer_clock_base hrtimer_cpu_base
    tasklet_struct tasklet_head softirq_action irq_work ktime_t timespec64 timeval mutex semaphore
    rw_semaphore spinlock raw_spinlock spinlock_t raw_spinlock_t arch_spinlock_t rwlock_t rwlock
    seqcount seqlock_t seqcount_spinlock lock_class_key lockdep_map ratelimit_state percpu_rw_semaphore

    va_format resource file file_operations path inode inode_operations dentry qstr super_block
    file_system_type super_operations address_space address_space_operations kiocb iov_iter iovec kvec
    seq_file seq_operations proc_ops proc_dir_entry poll_table_struct ctl_table ctl_table_header
    miscdevice cdev device device_driver bus_type class device_attribute device_type driver_attribute
    platform_device platform_driver block_device gendisk clk fwnode_handle fwnode_operations device_node
    property kernel_cap_t kernel_cap_struct kuid_t kgid_t uuid_t

    kmem_cache kmalloc_cache_type page pageflags folio vm_area_struct vm_struct scatterlist sg_table
    idr xarray ida radix_tree_root rhashtable hlist_bl_head crypto_alg crypto_tfm shash_desc shash_alg
    crypto_shash sk_buff net_device pt_regs tm rtc_time in6_addr sockaddr sockaddr_in sockaddr_in6
    sockaddr_storage kernfs_node
    blk_plug io_context user_struct user_namespace uts_namespace new_utsname pid_type module_state

    __kfifo _ddebug clk_core kmem_cache_args kthread_work kthread_worker kthread_delayed_work
    """.split()  # noqa: SIM905 - the table is easier to read, and to add to, as text
)
"""Names of structs, unions, enums and typedefs, grouped by subject."""

FIRST: tuple[str, ...] = tuple(
    """
    module module_kobject module_attribute module_layout module_memory module_state mod_arch_specific
    mod_kallsyms module_use load_info
    kernel_param kernel_param_ops kparam_array kparam_string kernel_symbol bug_entry
    exception_table_entry orc_entry jump_entry static_call_site tracepoint kobject kset list_head
    hlist_node device kernfs_node va_format resource rcu_head srcu_struct notifier_block
    timer_list hrtimer work_struct delayed_work kthread_work kthread_delayed_work kthread_worker
    tasklet_struct completion wait_queue_head wait_queue_entry mutex semaphore rw_semaphore spinlock
    irq_work seq_file file kmem_cache page percpu_counter ratelimit_state mm_struct
    """.split()  # noqa: SIM905 - as above
)
"""The types that the kernel half needs for nearly every module it loads."""
