"""What the ledger says in French: sentences of its refusals and of what it keeps; see kit.texts."""

from kit import context, texts

FRENCH = {
    "a row without a line": "une ligne sans numéro",
    "the rows do not have the columns of the contract": "les lignes n'ont pas les colonnes du contrat",
    "unknown column": "colonne inconnue",
    "missing column": "colonne manquante",
    "not {0}: {1}": "n'est pas de type {0} : {1}",
    "nothing is open on this item": "rien n'est ouvert sur cette pièce",
    "the holds of an item cannot exceed what is open on it": (
        "les blocages d'une pièce ne peuvent dépasser ce qui en est ouvert"
    ),
    "there is no such entity": "cette entité n'existe pas",
    "there is no such account": "ce compte n'existe pas",
    "there is no such item": "cette pièce n'existe pas",
    "the first message is the header": "le premier message est l'en-tête",
    "every message after the first is a chunk": "chaque message après le premier est un lot",
    "no IANA time zone": "ce n'est pas un fuseau horaire IANA",
    "{0} is unknown": "{0} est inconnu",
    "there is an entity with this code": "une entité a déjà ce code",
    "say why": "dites pourquoi",
    "compulsory when not valid": "obligatoire quand le contact n'est pas valable",
    "there is no such contact": "ce contact n'existe pas",
    "there is no such item on this account": "cette pièce n'existe pas sur ce compte",
    "the item is in {0}": "la pièce est en {0}",
    "before its first day": "avant son premier jour",
    "twice with the same kind": "deux fois avec la même nature",
    "these holds cannot be placed": "ces blocages ne peuvent pas être posés",
    "this load was begun for another entity": "ce chargement a été commencé pour une autre entité",
    "this load has ended": "ce chargement est terminé",
    "there is no such load": "ce chargement n'existe pas",
    "this load has not ended yet": "ce chargement n'est pas encore terminé",
    "only the last load can be taken back, and another came after it": (
        "seul le dernier chargement peut être annulé, et un autre l'a suivi"
    ),
    "an allocation cannot exceed what is open on either side": (
        "un lettrage ne peut dépasser ce qui est ouvert d'un côté ou de l'autre"
    ),
    "in the future": "dans l'avenir",
    "the two items are in different currencies": "les deux pièces sont en devises différentes",
    "must be more than nothing": "doit être supérieur à zéro",
    "before one of the items was issued": "avant l'émission de l'une des pièces",
    "these items cannot be allocated": "ces pièces ne peuvent être lettrées",
    "there is no such allocation": "ce lettrage n'existe pas",
    "this row takes another allocation back": "cette ligne annule un autre lettrage",
    "this allocation has been taken back already": "ce lettrage a déjà été annulé",
    "before the allocation's own": "avant celui du lettrage",
    "this allocation cannot be taken back then": "ce lettrage ne peut être annulé à cette date",
    "these rates cannot be set": "ces taux ne peuvent être enregistrés",
    "a rate needs two currencies": "un taux de change lie deux devises",
    "the same currency twice": "deux fois la même devise",
    "there is no exchange rate for this day: set one first": (
        "aucun taux de change n'existe pour ce jour : saisissez-en un d'abord"
    ),
    "unknown series": "série inconnue",
    "this series begins on 1 January and 1 July": "cette série commence les 1er janvier et 1er juillet",
    "this rate cannot be set": "ce taux ne peut être enregistré",
    "there is no such hold": "ce blocage n'existe pas",
    "this hold has ended": "ce blocage est terminé",
    "before today": "avant aujourd'hui",
    "this hold cannot be changed so": "ce blocage ne peut être modifié ainsi",
    "must say what the rows are": "doit dire ce que sont les lignes",
    "these rows have no object": "ces lignes n'ont pas d'objet",
    "a load can be taken back for 30 days": "un chargement peut être annulé pendant 30 jours",
    "somebody has set items of this load against others: undo these allocations first": (
        "des pièces de ce chargement ont été lettrées depuis : annulez d'abord ces lettrages"
    ),
    "the complete file would clear more than 30 % of what is open: is it the right file?": (
        "le fichier complet solderait plus de 30 % de ce qui est ouvert : est-ce le bon fichier ?"
    ),
    "no instant": "ce n'est pas un instant",
    "an instant with its zone is needed": "il faut un instant avec son fuseau",
    "there is no such block": "ce bloc n'existe pas",
    "only different accounts of one entity become one": (
        "seuls des comptes différents d'une même entité peuvent être fusionnés"
    ),
    "one of the accounts was merged already": "l'un des comptes a déjà été fusionné",
    "the accounts have the same item: correct it where it was made": (
        "les comptes ont la même pièce : corrigez-la là où elle a été créée"
    ),
    "this account was not merged into another": "ce compte n'a pas été fusionné dans un autre",
    "a credit of one account is set against a debt of the other": (
        "un avoir de l'un des comptes est imputé sur une dette de l'autre"
    ),
    "a master is another account of the same entity": "un compte maître est un autre compte de la même entité",
    "a master is collected by itself, and its accounts lead none": (
        "un compte maître est relancé lui-même, et ses comptes n'en mènent aucun"
    ),
    "no more than 200 accounts are collected through one": "un compte ne peut en regrouper plus de 200",
    "another company has this registration number": "une autre société a ce numéro d'immatriculation",
    "there is no such company": "cette société n'existe pas",
    "there is a group with this code": "un groupe a déjà ce code",
    "there is no such group": "ce groupe n'existe pas",
    "accounts are in this group: take them out first": "des comptes sont dans ce groupe : retirez-les d'abord",
    "a list has options, nothing else has": "une liste a des choix, les autres types n'en ont pas",
    "a field with almost the same name exists": "un champ presque du même nom existe",
    "values that are kept are not of this type": "des valeurs enregistrées ne sont pas de ce type",
    "there is no such custom field": "ce champ personnalisé n'existe pas",
    "no more than 5,000 accounts change at once: narrow the filter": (
        "5 000 comptes au plus changent à la fois : resserrez le filtre"
    ),
    "say what changes": "dites ce qui change",
    "a value is not of its field's type": "une valeur n'est pas du type de son champ",
    "not a number": "ce n'est pas un nombre",
    "not a day (YYYY-MM-DD)": "ce n'est pas une date (AAAA-MM-JJ)",
    "not one of the options": "ce n'est pas l'un des choix",
    "items are named when, and only when, the scope is items": (
        "des pièces sont nommées si, et seulement si, la portée est celle des pièces"
    ),
    "the account has another contact with this address or name": (
        "le compte a un autre contact avec cette adresse ou ce nom"
    ),
    "an entity has a name": "une entité a un nom",
    "no field that can have an owner": "ce champ ne peut pas avoir de propriétaire",
    "not an id": "ce n'est pas un identifiant",
    "an amount of the entity's currency, not below zero": (
        "un montant dans la devise de l'entité, qui n'est pas négatif"
    ),
    "a contact has a name": "un contact a un nom",
    "true or false": "true ou false",
}

CATALOG = texts.Catalog({**texts.FRENCH, **FRENCH})


def say(english: str) -> str:
    """A sentence of this service in the language of who asks; one that is not of the catalog stays as it is."""
    return CATALOG.say(english, context.language())
