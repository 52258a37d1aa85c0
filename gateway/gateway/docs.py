"""A page to read the API and try it; it reads openapi.json and loads nothing from elsewhere."""

from flask import Flask, render_template


def register(app: Flask) -> None:
    """Adds /docs."""

    @app.get("/docs")
    def docs() -> str:
        return render_template("api/docs.html")
