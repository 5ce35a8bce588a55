"""A connection's form for Airflow 3.1, which asks the hook. From 3.2 on it is read from the provider info alone."""

from __future__ import annotations

from typing import Any

from airflow_dr_provider.provider_configuration import connection_type


def widgets(name: str) -> dict[str, Any]:
    """The fields of a type, as WTForms has them.

    :param name: the connection type.
    """
    # Only there where Airflow renders forms with it; elsewhere Airflow passes the ImportError over.
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import IntegerField, StringField
    from wtforms.validators import Optional

    fields = {}
    for field, told in connection_type(name)["conn-fields"].items():
        kind = IntegerField if "integer" in told["schema"]["type"] else StringField
        text = told["description"]
        if "enum" in told["schema"]:
            text += f" One of {', '.join(value for value in told['schema']['enum'] if value)}."
        fields[field] = kind(told["label"], validators=[Optional()], widget=BS3TextFieldWidget(), description=text)
    return fields


def behaviour(name: str) -> dict[str, Any]:
    """What the standard fields of a type are called, and which are hidden.

    :param name: the connection type.
    """
    told = connection_type(name)["ui-field-behaviour"]
    return {
        "hidden_fields": told["hidden-fields"],
        "relabeling": told["relabeling"],
        "placeholders": told["placeholders"],
    }
