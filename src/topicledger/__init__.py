"""topicledger: a Kafka topic into a warehouse as a batch whose books close.

Importing this package costs nothing: drivers and engines are imported by the modules that use them.
"""

__version__ = "0.1.0"
