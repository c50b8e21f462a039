"""Reports, tables and displays of results. Nothing here runs a fit or ranks configurations."""
