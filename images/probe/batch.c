/* One batch: check the header, set the context, run the records in order, put the context back. */
#include "probe.h"

struct mailbox *mailbox(void)
{
    return (struct mailbox *)MAILBOX_PA;
}

static bool layout_ok(const struct batch_header *header, uint64_t pa, uint64_t *size)
{
    uint64_t records_end = header->records_offset + (uint64_t)header->record_count * sizeof(struct record);
    uint64_t results_end = header->results_offset + (uint64_t)header->record_count * sizeof(struct result);
    uint64_t pool_end = (uint64_t)header->pool_offset + header->pool_size;
    uint64_t context_end = header->context_offset + (uint64_t)header->context_count * sizeof(struct register_entry);
    uint64_t end = results_end > pool_end ? results_end : pool_end;
    *size = end;
    return header->header_size == sizeof(*header) && end <= BATCH_PA + BATCH_SIZE - pa && records_end <= end &&
           context_end <= end && header->records_offset % 8 == 0 && header->results_offset % 8 == 0 &&
           header->context_offset % 8 == 0 && header->records_offset >= sizeof(*header) &&
           header->results_offset >= records_end && header->results_offset >= pool_end &&
           header->context_count <= REGS_MAX && !(header->flags & ~(uint32_t)BATCH_FLAG_PES);
}

/* The checksum as the harness made it: crc32, completed and status counted as zero, everything before the results. */
static bool crc_ok(const struct batch_header *header)
{
    struct batch_header clean = *header;
    clean.crc32 = 0;
    clean.completed = 0;
    clean.status = 0;
    uint32_t crc = crc32(0, &clean, sizeof(clean));
    crc = crc32(crc, header + 1, header->results_offset - sizeof(*header));
    return !header->crc32 || crc == header->crc32;
}

static uint32_t bad(struct batch_header *header, uint32_t *reason, uint32_t why)
{
    *reason = why;
    header->reserved = why;
    header->status = BATCH_BAD;
    return BATCH_BAD;
}

/* Groups of a batch for several PEs begin one after another: a record never belongs to an earlier one. */
static bool groups_ordered(const struct batch_header *header)
{
    const struct record *records = (const struct record *)((uint64_t)header + header->records_offset);
    for (uint32_t i = 1; i < header->record_count; i++) {
        if (records[i].group < records[i - 1].group) {
            return false;
        }
    }
    return true;
}

/* What every PE does after its last record. */
void batch_end(void)
{
    watchdog_stop();
    lower_leave();
    context_restore();
}

uint32_t run_batch(uint64_t pa, bool check_crc, uint32_t *reason)
{
    struct batch batch = {.base = pa};
    struct batch_header *header = (struct batch_header *)pa;
    *reason = BAD_NONE;
    if (pa % 64 || pa < BATCH_PA || pa > BATCH_PA + BATCH_SIZE - sizeof(*header)) {
        *reason = BAD_ADDRESS;
        return BATCH_BAD;
    }
    header->completed = 0;
    if (header->magic != BATCH_MAGIC || header->version != RECORD_VERSION) {
        return bad(header, reason, BAD_MAGIC);
    }
    if (!layout_ok(header, pa, &batch.size)) {
        return bad(header, reason, BAD_LAYOUT);
    }
    if (check_crc && !crc_ok(header)) {
        return bad(header, reason, BAD_CRC);
    }
    header->status = BATCH_RUNNING;
    if (header->flags & BATCH_FLAG_PES) {
        const struct job job = {&batch, header};
        uint32_t why = groups_ordered(header) ? pes_run(&job) : BAD_LAYOUT;
        if (why != BAD_NONE) {
            return bad(header, reason, why);
        }
        header->status = BATCH_DONE;
        return BATCH_DONE;
    }
    const struct register_entry *context = (const struct register_entry *)(pa + header->context_offset);
    volatile uint32_t *current = &mailbox()->current;
    *current = 0;
    uint32_t set = context_set(context, header->context_count);
    if (set < header->context_count) {
        return bad(header, reason, BAD_CONTEXT | set << BAD_INDEX_SHIFT);
    }
    const struct record *records = (const struct record *)(pa + header->records_offset);
    struct result *results = (struct result *)(pa + header->results_offset);
    volatile uint32_t *completed = &header->completed;
    const uint32_t count = header->record_count;
    for (uint32_t i = 0; i < count; i++) {
        *current = i;
        survival->current = i;
        run_record(&batch, &records[i], &results[i]);
        *completed = i + 1;
    }
    batch_end();
    header->status = BATCH_DONE;
    return BATCH_DONE;
}
