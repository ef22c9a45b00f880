"""Warehouses: the contract (`contract`), its choice by connection (`connect`), one module per warehouse."""
