-- A role for each service, which owns its schema and may do nothing elsewhere. Run once by a superuser in the
-- database of the suite; passwords are read from files <service>.password on the server, in /run/secrets or
-- where the setting brain.secrets says.
DO $roles$
DECLARE
  directory text := coalesce(current_setting('brain.secrets', true), '/run/secrets');
  service text;
  secret text;
BEGIN
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
  REVOKE ALL ON SCHEMA public FROM PUBLIC;
  FOREACH service IN ARRAY ARRAY['events', 'experiments', 'funnels', 'forecasting', 'alerts'] LOOP
    secret := btrim(pg_read_file(format('%s/%s.password', directory, service)), E' \r\n');
    EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD %L',
                   service, secret);
    -- Events arrive in temporary tables.
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), service);
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION %I', service, service);
    EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', service, current_database(), service);
  END LOOP;
END
$roles$;
