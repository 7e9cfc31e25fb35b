-- What look-ups read, and nothing more. Not partitioned: a cached plan would lock every partition.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TYPE invoice_kind AS ENUM (
    'vat_special', 'vat_freight', 'motor_vehicle', 'vat_ordinary', 'vat_e_special',
    'vat_e_ordinary', 'vat_roll', 'vat_toll', 'used_vehicle', 'blockchain', 'digital_special',
    'digital_ordinary', 'digital_motor_vehicle', 'digital_used_vehicle', 'digital_paper_special',
    'digital_paper_ordinary', 'rail_ticket', 'air_itinerary'
);

CREATE TYPE invoice_status AS ENUM (
    'normal', 'voided', 'red_flushed', 'partially_red_flushed', 'red_letter'
);

-- Columns of fixed width come first: they need no padding there, and are found without a walk.
-- The checks keep text such that an answer can quote it in JSON without looking at it.
CREATE TABLE invoice (
    issue_date date NOT NULL,
    kind invoice_kind NOT NULL,
    status invoice_status NOT NULL,
    -- A 20-digit number, or code-number. Compared bytewise, whatever the database's locale.
    key text COLLATE "C" NOT NULL,
    amount numeric(13, 2) NOT NULL,
    tax numeric(13, 2) NOT NULL,
    total numeric(13, 2) NOT NULL,
    check_code text COLLATE "C" NOT NULL,
    seller_tax_id text COLLATE "C" NOT NULL,
    seller_name text COLLATE "C" NOT NULL,
    buyer_tax_id text COLLATE "C" NOT NULL,
    buyer_name text COLLATE "C" NOT NULL,
    -- Keys of the red letters that take this invoice back, sorted.
    red_letters text [] COLLATE "C" NOT NULL DEFAULT '{}',
    -- The key of the blue invoice that this red letter takes back.
    red_letter_of text COLLATE "C",
    issued_at timestamptz,

    CONSTRAINT invoice_pkey PRIMARY KEY (key),
    CONSTRAINT invoice_key_form CHECK (
        key ~ '^(?:[0-9]{20}|(?:[0-9]{10}|[0-9]{12})-[0-9]{8})$'
    ),
    CONSTRAINT invoice_check_code_form CHECK (check_code ~ '^[0-9A-Za-z]*$'),
    CONSTRAINT invoice_tax_id_form CHECK (seller_tax_id || buyer_tax_id ~ '^[0-9A-Z]*$'),
    CONSTRAINT invoice_red_letter_of_form CHECK (red_letter_of ~ '^[0-9-]+$'),
    CONSTRAINT invoice_red_letters_form CHECK (
        red_letters = '{}'
        OR (
            array_position(red_letters, NULL) IS NULL
            AND array_to_string(red_letters, ',') ~ '^[0-9,-]+$'
        )
    )
) WITH (
    -- Room for a new status or red letter beside the old row, so that no index is touched.
    fillfactor = 90,
    -- At 2 % of the rows: a large ledger would otherwise wait for millions of dead rows.
    autovacuum_vacuum_scale_factor = 0.02,
    -- Inserts alone must keep the visibility map up, for existence checks by index only.
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

CREATE INDEX invoice_red_letter_of_idx ON invoice (red_letter_of)
WHERE red_letter_of IS NOT NULL;
