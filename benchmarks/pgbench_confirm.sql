-- One confirmation with the rows our gateway records, one transaction, a table at a time: the limit
-- of the database for a program without batches. The bill comes from a sequence.
SELECT nextval('bench_bill') AS bill \gset
BEGIN;
SELECT id AS obligation FROM obligations
  WHERE id IN (SELECT obligation_id FROM bills WHERE id = :bill) ORDER BY id FOR UPDATE \gset
SELECT obligation_id FROM applications WHERE obligation_id = :obligation;
SELECT * FROM bills WHERE id = :bill OR (obligation_id = :obligation AND state = 'OPEN');
SELECT bill_id, number FROM bill_numbers WHERE bill_id = :bill;
SELECT id, bank_code, natural_key FROM notices
  WHERE channel = 'BILL' AND bank_code = 'AMK' AND natural_key = 'L' || :bill;
SELECT bank_code, transaction_id FROM payments
  WHERE channel = 'KHQR' AND bank_code = 'AMK' AND transaction_id = 'L' || :bill;
INSERT INTO notices (bank_code, channel, natural_key, contradicts, bill_id, policy_number,
    amount_hundredths, currency, payer, paid_at, received_at, body_digest, subject, request_id,
    answer, hold, flags, state, state_at, state_cause)
  VALUES ('AMK', 'BILL', 'L' || :bill, false, :bill, 'L000000001', 150, 'USD', 'Load Payer', now(),
    now(), repeat('0', 64), 'amk', 'r', '{}', NULL, '', 'DONE', now(), 'decided')
  ON CONFLICT DO NOTHING RETURNING id AS notice \gset
INSERT INTO payments (bank_code, transaction_id, channel, notice_id, bill_id, obligation_id,
    amount_hundredths, currency, paid_at, recorded_at, assurance, state, state_at, state_cause)
  VALUES ('AMK', 'L' || :bill, 'BILL', :notice, :bill, :obligation, 150, 'USD', now(), now(),
    'BANK_NOTICE', 'APPLIED', now(), 'bill notice')
  ON CONFLICT DO NOTHING RETURNING id AS payment \gset
INSERT INTO applications (obligation_id, payment_id, applied_at)
  VALUES (:obligation, :payment, now()) ON CONFLICT DO NOTHING;
UPDATE bills SET state = 'PAID', state_at = now(), state_cause = 'payment applied'
  WHERE id = :bill AND state = 'OPEN';
UPDATE codes SET state = 'SUPERSEDED', state_at = now(), state_cause = 'the obligation was paid'
  WHERE state = 'LIVE' AND bill_id IN (SELECT id FROM bills WHERE obligation_id = :obligation);
UPDATE obligations SET event_sequence = event_sequence + 2 WHERE id = :obligation;
INSERT INTO outbox (event_id, topic, event_key, value, request_id, created_at)
  VALUES (gen_random_uuid()::text, 'bench.confirmed', 'L000000001',
      convert_to(repeat('x', 400), 'UTF8'), 'r', now()),
    (gen_random_uuid()::text, 'bench.success', 'L000000001',
      convert_to(repeat('x', 400), 'UTF8'), 'r', now());
COMMIT;
