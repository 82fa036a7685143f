from insurance_rag.cli import main

raise SystemExit(main())
