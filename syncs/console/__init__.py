"""Tools shared by the console's pages in every app: how values are shown, filter bars, change lists."""
