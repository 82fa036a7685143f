from insurance_rag.cli.main import main

raise SystemExit(main())
