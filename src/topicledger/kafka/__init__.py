"""The Kafka side of the engine, and the only importer of confluent_kafka."""
