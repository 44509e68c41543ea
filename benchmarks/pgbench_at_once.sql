-- One confirmation in one transaction, asked as our gateway asks: one statement to load it, one to
-- record it. What is left of the database's cost for a program without batches.
SELECT nextval('bench_bill') AS bill \gset
BEGIN;
WITH locked AS (
  SELECT * FROM obligations WHERE id IN (SELECT obligation_id FROM bills WHERE id = :bill)
    ORDER BY id FOR UPDATE
), owed AS (
  SELECT b.*, locked.policy_number, locked.due_on, locked.event_sequence,
      (SELECT obligation_id FROM applications WHERE obligation_id = locked.id) AS paid,
      ARRAY(SELECT number FROM bill_numbers WHERE bill_id = b.id) AS numbers
    FROM locked JOIN bills b ON b.obligation_id = locked.id AND (b.id = :bill OR b.state = 'OPEN')
), known AS (
  SELECT bank_code, natural_key FROM notices
    WHERE channel = 'BILL' AND bank_code = 'AMK' AND natural_key = 'L' || :bill
  UNION ALL
  SELECT bank_code, transaction_id FROM payments
    WHERE channel = 'KHQR' AND bank_code = 'AMK' AND transaction_id = 'L' || :bill
)
SELECT obligation_id AS obligation FROM owed FULL JOIN known ON false \gset
WITH noticed AS (
  INSERT INTO notices (bank_code, channel, natural_key, contradicts, bill_id, policy_number,
      amount_hundredths, currency, payer, paid_at, received_at, body_digest, subject, request_id,
      answer, hold, flags, state, state_at, state_cause)
    VALUES ('AMK', 'BILL', 'L' || :bill, false, :bill, 'L000000001', 150, 'USD', 'Load Payer',
      now(), now(), repeat('0', 64), 'amk', 'r', '{}', NULL, '', 'DONE', now(), 'decided')
    ON CONFLICT DO NOTHING RETURNING id
), paid AS (
  INSERT INTO payments (bank_code, transaction_id, channel, notice_id, bill_id, obligation_id,
      amount_hundredths, currency, paid_at, recorded_at, assurance, state, state_at, state_cause)
    SELECT 'AMK', 'L' || :bill, 'BILL', id, :bill, :obligation, 150, 'USD', now(), now(),
      'BANK_NOTICE', 'APPLIED', now(), 'bill notice' FROM noticed
    ON CONFLICT DO NOTHING RETURNING id, obligation_id
), applied AS (
  INSERT INTO applications (obligation_id, payment_id, applied_at)
    SELECT obligation_id, id, now() FROM paid ON CONFLICT DO NOTHING RETURNING obligation_id
), settled AS (
  UPDATE bills SET state = 'PAID', state_at = now(), state_cause = 'payment applied'
    WHERE obligation_id = :obligation AND state = 'OPEN' AND (SELECT count(*) FROM applied) = 1
    RETURNING id
), retired AS (
  UPDATE codes SET state = 'SUPERSEDED', state_at = now(), state_cause = 'the obligation was paid'
    WHERE state = 'LIVE' AND bill_id IN (SELECT id FROM bills WHERE obligation_id = :obligation)
), counted AS (
  UPDATE obligations SET event_sequence = event_sequence + 2 WHERE id = :obligation
), told AS (
  INSERT INTO outbox (event_id, topic, event_key, value, request_id, created_at)
    VALUES (gen_random_uuid()::text, 'bench.confirmed', 'L000000001',
        convert_to(repeat('x', 400), 'UTF8'), 'r', now()),
      (gen_random_uuid()::text, 'bench.success', 'L000000001',
        convert_to(repeat('x', 400), 'UTF8'), 'r', now())
)
SELECT (SELECT count(*) FROM noticed), (SELECT count(*) FROM paid), (SELECT count(*) FROM applied),
  (SELECT array_agg(id) FROM settled);
COMMIT;
