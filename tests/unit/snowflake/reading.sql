-- a session
SELECT "BATCH_ID", "PLAN_ID", "PIPELINE", "TARGET", "RUN_ID", "TOPIC", "TOPIC_ID", TO_JSON("PLANNED"), TO_JSON("APPLIED"), TO_JSON("MANIFEST"), TO_JSON("RECEIPT"), TO_JSON("ACCOUNTS"), "SHA256", DATE_PART(EPOCH_MICROSECOND, "LOADED_AT") FROM "PUBLIC"."TOPICLEDGER_BATCHES" WHERE batch_id = ? AND plan_id = ? AND target = ?; -- 3 bound
SELECT p.topic_id, p.partition, p.origin, p.position, COALESCE(s.applied, 0) FROM "PUBLIC"."TOPICLEDGER_POSITIONS" p LEFT JOIN ( SELECT a.topic_id, a.partition, SUM(a.past - a.first) AS applied FROM ( SELECT b.topic_id, CAST(f.value[0] AS NUMBER(38,0)) AS partition, CAST(f.value[1] AS NUMBER(38,0)) AS first, CAST(f.value[2] AS NUMBER(38,0)) AS past FROM "PUBLIC"."TOPICLEDGER_BATCHES" b, LATERAL FLATTEN(input => b.applied) f WHERE b.target = ?) a GROUP BY a.topic_id, a.partition ) s ON s.topic_id = p.topic_id AND s.partition = p.partition WHERE p.target = ? ORDER BY p.topic_id, p.partition; -- 2 bound
ROLLBACK
-- a session
SELECT "BATCH_ID", "PLAN_ID", "PIPELINE", "TARGET", "RUN_ID", "TOPIC", "TOPIC_ID", TO_JSON("PLANNED"), TO_JSON("APPLIED"), TO_JSON("MANIFEST"), TO_JSON("RECEIPT"), TO_JSON("ACCOUNTS"), "SHA256", DATE_PART(EPOCH_MICROSECOND, "LOADED_AT") FROM "PUBLIC"."TOPICLEDGER_BATCHES" WHERE target = ? ORDER BY loaded_at DESC, batch_id, plan_id LIMIT 3; -- 1 bound
ROLLBACK
-- a session
SELECT "TOPIC", "TOPIC_ID", "PARTITION", "ORIGIN", "POSITION", "LEADER_EPOCH", "GENERATION" FROM "PUBLIC"."TOPICLEDGER_POSITIONS" WHERE target = ? AND topic = ? ORDER BY topic_id, partition; -- 2 bound
ROLLBACK