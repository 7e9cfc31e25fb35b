-- The ledger holds everything that a region issued before ``complete_until``.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE region_watermark (
    region text COLLATE "C" NOT NULL,
    complete_until timestamptz NOT NULL,

    CONSTRAINT region_watermark_pkey PRIMARY KEY (region),
    CONSTRAINT region_watermark_region_form CHECK (region ~ '^[0-9]{4}$')
);
