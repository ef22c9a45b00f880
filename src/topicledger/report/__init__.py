"""The books for people: in words, as a JSON document and as a page.

It only shows what it is given: nothing is counted, nothing is asked of Kafka or of a warehouse.
"""
