# Airflow with the engine, for compose.yaml: its command lines say how dist/ comes about.
FROM apache/airflow:3.3.2
COPY dist/topicledger-*.whl /tmp/wheels/
RUN wheel=$(ls /tmp/wheels/topicledger-*.whl) \
 && pip install --no-cache-dir "apache-airflow==3.3.2" apache-airflow-providers-apache-kafka \
    apache-airflow-providers-postgres "$wheel[duckdb,postgres]"
