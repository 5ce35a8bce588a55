"""The steps of a drill: idempotent, checkpointed coroutines over spec, state and adapters. No Airflow in here."""
