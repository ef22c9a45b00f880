"""The command `topicledger`."""
