"""PostgreSQL's own programs and files: found, run, and read. Shared by repositories, sandboxes and checks; decides nothing."""
