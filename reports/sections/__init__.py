"""The sections of the report: what each shows, laid out as plain values without markup."""
