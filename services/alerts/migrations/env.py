from shared import migrations

migrations.run()
