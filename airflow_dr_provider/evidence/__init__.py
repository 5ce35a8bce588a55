"""The record of a run, for people, machines and auditors."""
