-- Watermarks that clocks can tell: not before 2000, not beyond the year 9999, not infinite.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- What plain SQL may have stored. Nobody knows the future, so such a region is complete until now.
UPDATE region_watermark
SET complete_until = least(greatest(complete_until, '2000-01-01 00:00:00+00'), now())
WHERE complete_until < '2000-01-01 00:00:00+00' OR complete_until >= '10000-01-01 00:00:00+00';

-- That a moment is in the future when it is stored is for the writer to refuse: a constraint that
-- reads a clock would not be one.
ALTER TABLE region_watermark
-- squawk-ignore constraint-missing-not-valid
ADD CONSTRAINT region_watermark_range CHECK ( -- a row for each of 36 regions is soon looked at
    complete_until >= '2000-01-01 00:00:00+00' AND complete_until < '10000-01-01 00:00:00+00'
);
