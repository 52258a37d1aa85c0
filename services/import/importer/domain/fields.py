"""The canonical fields of each object and the headers by which ERPs in five languages name them.

Synonyms are header keys (no accents, case, blanks or signs: `header_key`), best first: when two columns would both
do, the
better name wins. SAP's technical names come from the tables BSID, BSAD, BSEG, BKPF and KNA1 and from FBL5N layouts.
"""

from __future__ import annotations

from importer.domain.field import Field
from importer.domain.field import field as _field
from importer.domain.object_fields import (
    ALLOCATIONS,
    ASSIGNMENTS,
    COVER,
    CREDIT_INFORMATION,
    EXCHANGE_RATES,
    ORDERS,
    SALES,
    further_fields,
)

ITEMS, ACCOUNTS, CONTACTS = "ITEMS", "ACCOUNTS", "CONTACTS"
OBJECTS = (
    ITEMS,
    ACCOUNTS,
    CONTACTS,
    ALLOCATIONS,
    SALES,
    ORDERS,
    ASSIGNMENTS,
    EXCHANGE_RATES,
    COVER,
    CREDIT_INFORMATION,
)
# The column whose equal values travel in one chunk: whole accounts where the rows have one.
SORT_KEY = {
    ITEMS: "account_number",
    ACCOUNTS: "number",
    CONTACTS: "account_number",
    ALLOCATIONS: "account_number",
    SALES: "account_number",
    ORDERS: "account_number",
    ASSIGNMENTS: "account_number",
    EXCHANGE_RATES: "line",
    COVER: "line",
    CREDIT_INFORMATION: "line",
}


_ACCOUNT_NUMBER = _field(
    "accountNumber",
    "id",
    "customer number",
    "numéro de client",
    "kunnr accountnumber customernumber custnumber customerno customernr custno customerid "
    "customercode customeraccount accountno accountcode accountid "
    "debtornumber debtorno debtorcode debtor clientnumber clientno clientid clientcode custid "
    "custcode customer account customerref billtonumber billto soldto soldtoparty payer "
    "numeroclient noclient nclient numclient codeclient compteclient refclient referenceclient "
    "comptetiers codetiers tiers compte compteauxiliaire comptaux compauxnum client idclient "
    "kundennummer kundennr kundenno kdnr kundenkonto debitor debitorennummer debitorennr debitornr "
    "debitorenkonto personenkonto geschaftspartner kunde "
    "codigocliente codigodecliente numerocliente numerodecliente ncliente nodecliente nocliente "
    "cliente clientenumero cuentacliente codcliente deudor partnerid partner bpcode cardcode",
    required=True,
    max_length=50,
)
_ACCOUNT_NAME = _field(
    "accountName",
    "text",
    "customer name",
    "nom du client",
    "name1 accountname customername namecustomer custname debtorname clientname companyname company "
    "customerdescription billtoname payername businessname name "
    "nomclient nomduclient raisonsociale libelleclient intituleclient intitule nomtiers libelletiers "
    "compauxlib denomination nom societe "
    "kundenname namekunde firma firmenname firmierung debitorname debitorenname bezeichnung "
    "nombrecliente nombredelcliente razonsocial nombre empresa denominacion cardname partnername",
    max_length=200,
)
_CURRENCY = _field(
    "currency",
    "currency",
    "currency",
    "devise",
    "waers invoicecurrency documentcurrency doccurrency currency currencycode curr cur ccy "
    "transactioncurrency currencykey isocurrency devise codedevise monnaie "
    "devisedocument devisefacture wahrung waehrung belegwahrung belegwaehrung wahrungsschlussel wkz "
    "wkzumsatz moneda divisa codigomoneda monedadocumento rtcur pswsl",
)
_PAYMENT_TERMS = _field(
    "paymentTerms",
    "text",
    "payment terms",
    "conditions de paiement",
    "zterm custpaymentterms paymentterms paymentterm terms termscode termsofpayment paymenttermscode "
    "conditionspaiement conditionsdepaiement conditionpaiement "
    "modalitespaiement reglementconditions zahlungsbedingung zahlungsbedingungen zahlungskondition "
    "zahlungsziel zbd condicionespago condicionesdepago condiciondepago formadepago",
    max_length=100,
)
_COMPANY_CODE = _field(
    "companyCode",
    "text",
    "company code",
    "code société",
    "bukrs companycode businesscode entity entitycode legalentity compcode businessunit codesociete "
    "societecode entite buchungskreis mandant firmenkreis sociedad codigosociedad empresacodigo "
    "rbukrs",
    max_length=50,
)
_LANGUAGE = _field(
    "language",
    "text",
    "language",
    "langue",
    "spras language lang languagecode langue codelangue sprache sprachschlussel idioma",
    max_length=10,
)
_COUNTRY = _field(
    "country",
    "country",
    "country",
    "pays",
    "land1 country countrycode countrykey countryregion iso2 pays codepays land landerschlussel landkz pais codigopais",
    max_length=60,
)
_EMAIL = _field(
    "email",
    "email",
    "e-mail address",
    "adresse e-mail",
    "smtpaddr email emailaddress mail emailid contactemail eaddress courriel adressemail "
    "adresseemail adressemel mel mailadresse emailadresse correo correoelectronico "
    "direccioncorreo emailcontact emailcontacto",
    max_length=254,
)
_PHONE = _field(
    "phone",
    "text",
    "telephone",
    "téléphone",
    "telf1 phone phonenumber telephone tel telephonenumber mobile mobilephone contactphone "
    "notelephone numerotelephone portable telefon telefonnummer telefonnr rufnummer mobil telefono "
    "movil",
    max_length=50,
)

ITEM_FIELDS: tuple[Field, ...] = (
    _ACCOUNT_NUMBER,
    _ACCOUNT_NAME,
    _field(
        "itemNumber",
        "id",
        "invoice number",
        "numéro de facture",
        "invoicenumber invoiceno invoicenr invoiceid invno invnumber inv invoice billnumber "
        "documentnumber documentno docno docnumber docnr itemnumber itemno document "
        "belnr docid documentid accountingdocument vbeln billingdocument transactionnumber "
        "transactionid voucher voucherno number "
        "numerofacture nofacture nfacture numfacture facture numerodefacture nodefacture numeropiece "
        "nopiece npiece piece pieceno numerodocument nodocument ndocument refpiece pieceref "
        "rechnungsnummer rechnungsnr rechnungnr rechnung renr rgnr belegnummer belegnr beleg "
        "belegfeld1 dokumentnummer fakturanummer "
        "numerofactura nfactura nofactura numerodefactura factura numerodocumento ndocumento documento",
        required=True,
        max_length=100,
    ),
    _field(
        "externalId",
        "id",
        "unique identifier of the source",
        "identifiant unique de la source",
        "externalid externalreference uniqueid uuid guid uniqueidentifier systemid identifiantunique "
        "idexterne idunique eindeutigeid externeid identificadorunico idexterno",
        max_length=100,
    ),
    _field(
        "lineNumber",
        "id",
        "line or instalment",
        "ligne ou échéance n°",
        "buzei linenumber lineno itemline documentitem accountingdocumentitem instalment installment "
        "instalmentnumber installmentnumber ligne numeroligne noligne position posten pos "
        "buchungszeile linea posicion docln",
        max_length=20,
    ),
    _field(
        "itemType",
        "choice",
        "type of document",
        "type de pièce",
        "blart documenttype doctype itemtype invoicetype transactiontype type voucherdoctype "
        "accountingdocumenttype typedocument typepiece typedepiece naturepiece nature belegart "
        "dokumentart art "
        "tipodocumento tipodedocumento clasedocumento tipo",
        max_length=50,
    ),
    _field(
        "issueOn",
        "date",
        "document date",
        "date de facture",
        "bldat invoicedate documentdate docdate issuedate dateofissue invoiceissuedate "
        "documentcreatedate billdate billingdate transactiondate date dateinvoice issued created "
        "createdate "
        "datefacture datedefacture datedelafacture datepiece datedepiece datedocument dateemission "
        "datedemission rechnungsdatum belegdatum redatum rgdatum dokumentdatum ausstellungsdatum "
        "datum "
        "fechafactura fechadefactura fechadocumento fechaemision fechadeemision fecha fkdat",
        required=True,
    ),
    _field(
        "dueOn",
        "date",
        "due date",
        "date d'échéance",
        "duedate dueindate netduedate due dateofmaturity maturitydate maturity paymentduedate dueon "
        "faedt netdt duedatenet faelligkeit "
        "dateecheance datedecheance echeance dateecheancenette falligkeit falligam falligkeitsdatum "
        "faelligkeitsdatum faelligam nettofalligkeit nettofaelligkeit falligkeitsdatumnetto "
        "zahlbarbis "
        "fechavencimiento fechadevencimiento vencimiento vence",
    ),
    _field(
        "postedOn",
        "date",
        "posting date",
        "date comptable",
        "budat postingdate bookingdate posteddate entrydate accountingdate gldate glpostingdate "
        "datecomptable datecomptabilisation dateecriture dateimputation buchungsdatum "
        "fechacontabilizacion fechacontable",
    ),
    _field(
        "settledOn",
        "date",
        "settlement date",
        "date de règlement",
        "augdt settleddate cleardate clearingdate cleareddate paymentdate paiddate paidon dateclosed "
        "closeddate settlementdate datereglement datedereglement datepaiement datelettrage "
        "datedelettrage "
        "ausgleichsdatum ausgleich zahlungsdatum bezahltam zahldatum fechapago fechadepago "
        "fechacompensacion fechacobro",
    ),
    _field(
        "baselineOn",
        "date",
        "baseline date",
        "date de base",
        "zfbdt baselinedate baselinecreatedate duecalculationbasedate datedebase basisdatum fechabase",
    ),
    _field(
        "termsDays1",
        "number",
        "days to pay 1",
        "délai de paiement 1 (jours)",
        "zbd1t days1 cashdiscountdays1 skontotage1 netdays paymentdays termsdays delaipaiement zahlungszieltage",
        max_length=10,
    ),
    _field(
        "termsDays2",
        "number",
        "days to pay 2",
        "délai de paiement 2 (jours)",
        "zbd2t days2 cashdiscountdays2 skontotage2",
        max_length=10,
    ),
    _field(
        "termsDays3",
        "number",
        "days to pay net",
        "délai de paiement net (jours)",
        "zbd3t nettotage nettozieltage netterms netpaymentdays",
        max_length=10,
    ),
    _CURRENCY,
    _field(
        "initialAmount",
        "amount",
        "amount including tax",
        "montant TTC",
        "wrbtr initialamount invoiceamount originalamount totalamount grossamount amountincludingtax "
        "amountincltax amountinctax amountgross invoicetotal doctotal documentamount "
        "amountindocumentcurrency "
        "amountindoccurr amountintransactioncurrency documentcurrencyamount amount total value "
        "totalinclvat totalinclusive amountdoccurr "
        "montantttc montanttotal montantfacture montantinitial montantdevise montantdocument montant "
        "totalttc ttc montantorigine "
        "rechnungsbetrag bruttobetrag betrag gesamtbetrag ursprungsbetrag belegbetrag brutto "
        "betraginbelegwahrung betraginbelegwaehrung umsatz umsatzohnesollhabenkz "
        "importetotal importe importefactura importebruto importeoriginal importeenmonedadocumento "
        "totalfactura monto montototal",
    ),
    _field(
        "openAmount",
        "amount",
        "open amount",
        "montant ouvert",
        "openamount totalopenamount amountdue outstandingamount amountoutstanding outstanding "
        "balance balancedue remainingamount remaining openbalance amountopen dueamount residual "
        "amountresidual unpaid unpaidamount "
        "opentotal openitemamount convertedusd "
        "montantouvert soldeouvert resteapayer restedu resteadevoir montantdu solde montantrestant "
        "restantdu solderestant montantrestantdu "
        "offenerbetrag offen restbetrag saldo offenersaldo offeneposten restforderung offenbetrag "
        "importependiente saldopendiente pendiente importeabierto montopendiente",
    ),
    _field(
        "localAmount",
        "amount",
        "amount in the entity's currency",
        "montant en devise de l'entité",
        "dmbtr amountinlocalcurrency localamount amountinlocalcurr amountincompanycodecurrency "
        "localcurrencyamount montantdeviseinterne montantdeviselocale montanteneur "
        "betraginhauswahrung betraginhauswaehrung "
        "hauswahrungsbetrag importeenmonedalocal importemonedalocal hsl",
    ),
    _field("debit", "amount", "debit", "débit", "debit debitamount debe soll sollbetrag montantdebit importedebe"),
    _field(
        "credit", "amount", "credit", "crédit", "credit creditamount haber haben habenbetrag montantcredit importehaber"
    ),
    _field(
        "debitCredit",
        "choice",
        "debit or credit",
        "débit ou crédit",
        "shkzg debitcreditcode debitcredit debitcreditindicator dcindicator drcr dc sens "
        "senscomptable debitoucredit sollhaben sollhabenkennzeichen sollhabenkz sh debehaber drcrk "
        "indicadordebehaber",
        max_length=20,
    ),
    _field(
        "openFlag",
        "flag",
        "still open",
        "encore ouvert",
        "isopen open openflag isunpaid estouvert ouvert istoffen offenkz abierto",
    ),
    _field(
        "disputed",
        "flag",
        "disputed",
        "en litige",
        "disputed indispute isdisputed dispute disputeflag litige enlitige contested conteste "
        "strittig reklamation reklamiert endisputa disputa disputado",
    ),
    _field(
        "reference",
        "text",
        "reference",
        "référence",
        "xblnr reference ref documentreference documentreferenceid externaldocumentno yourreference "
        "customerreference referencenumber referencekey referenz referenznummer verweis referencia",
        max_length=200,
    ),
    _field(
        "invoiceReference",
        "id",
        "number of the invoice a credit refers to",
        "numéro de la facture d'origine de l'avoir",
        "rebzg invoicereference originalinvoice originalinvoicenumber referenceinvoice creditedinvoice "
        "factureorigine facturereferencee rechnungsbezug ursprungsrechnung facturaorigen",
        max_length=100,
    ),
    _field(
        "assignment",
        "text",
        "assignment",
        "affectation",
        "zuonr assignment assignmentreference zuordnung affectation asignacion",
        max_length=200,
    ),
    _field(
        "orderNumber",
        "text",
        "order number",
        "numéro de commande",
        "ordernumber orderno purchaseorder ponumber pono po customerpo customerorder salesorder "
        "salesordernumber bstkd bstnk numerocommande nocommande commande bondecommande boncommande "
        "bestellnummer "
        "auftragsnummer bestellnr auftragsnr bestellung numeropedido pedido npedido ordendecompra",
        max_length=100,
    ),
    _COMPANY_CODE,
    _PAYMENT_TERMS,
    _field(
        "fiscalYear",
        "id",
        "fiscal year",
        "exercice",
        "gjahr fiscalyear businessyear buisnessyear financialyear year exercice exercicecomptable "
        "annee geschaftsjahr jahr ejercicio ryear",
        max_length=4,
    ),
    _field(
        "text",
        "text",
        "text",
        "libellé",
        "sgtxt text itemtext description memo narration comment comments remarks details libelle "
        "libelleecriture commentaire designation buchungstext bemerkung beschreibung texto concepto "
        "descripcion observaciones documentitemtext",
        max_length=500,
    ),
)

ACCOUNT_FIELDS: tuple[Field, ...] = (
    _ACCOUNT_NUMBER,
    _field("accountName", "text", "customer name", "nom du client", " ".join(_ACCOUNT_NAME.synonyms), required=True),
    _field(
        "registrationNumber",
        "id",
        "registration number",
        "numéro d'immatriculation",
        "stcd1 registrationnumber companynumber companyregistrationnumber registrationno regno crn "
        "legalid siren siret dunsnumber duns handelsregisternummer hrb hrnummer registernummer "
        "numeroregistro nif cif steuernummer nosiren nosiret numerosiren numerosiret",
        max_length=50,
    ),
    _field(
        "vatNumber",
        "id",
        "VAT number",
        "numéro de TVA",
        "stceg vatnumber vatno vatid vatregistrationnumber vat taxid taxnumber taxregistrationnumber "
        "numerotva numtva tva tvaintracom tvaintracommunautaire ustid ustidnr "
        "umsatzsteueridentnummer umsatzsteuerid numeroiva nifiva",
        max_length=30,
    ),
    _COUNTRY,
    _LANGUAGE,
    _PAYMENT_TERMS,
    _field(
        "legalUnitName",
        "text",
        "name of the legal unit",
        "nom de l'unité légale",
        "legalunitname legalname legalentityname nomlegal denominationsociale",
    ),
    _field(
        "parentNumber",
        "id",
        "number of the ultimate parent",
        "numéro de la tête de groupe",
        "parentnumber ultimateparent ultimateparentnumber parentaccount parent headoffice knrza "
        "maisonmere groupeparent tetedegroupe konzern konzernnummer konzs matriz",
        max_length=50,
    ),
    _field(
        "groups",
        "text",
        "groups",
        "groupes",
        "groups group customergroup customergroups segment kdgrp ktokd groupe groupes groupeclient "
        "groupeclients kundengruppe gruppe grupo grupos grupocliente",
        max_length=500,
    ),
    _field(
        "collector",
        "text",
        "collector",
        "chargé de recouvrement",
        "collector collectorcode collectoremail creditcontroller accountmanager responsible busab "
        "recouvreur chargederecouvrement chargerecouvrement gestionnaire sachbearbeiter "
        "mahnsachbearbeiter gestor gestorcobro responsable",
        max_length=254,
    ),
    _EMAIL,
    _PHONE,
    _field(
        "street",
        "text",
        "street",
        "rue",
        "stras street address address1 addressline1 streetaddress adresse adresse1 rue voie strasse "
        "anschrift direccion calle",
    ),
    _field(
        "postalCode",
        "id",
        "postal code",
        "code postal",
        "pstlz postalcode postcode zip zipcode codepostal cp plz postleitzahl codigopostal",
        max_length=20,
    ),
    _field("city", "text", "city", "ville", "ort01 city town ville localite ort stadt ciudad poblacion"),
    _COMPANY_CODE,
)

CONTACT_FIELDS: tuple[Field, ...] = (
    _ACCOUNT_NUMBER,
    _ACCOUNT_NAME,
    _field(
        "contactName",
        "text",
        "contact's name",
        "nom du contact",
        "contactname contactperson contact fullname personname name nomcontact nomducontact "
        "interlocuteur ansprechpartner kontaktname kontakt kontaktperson personadecontacto contacto "
        "nombrecontacto nombre nom",
    ),
    _field(
        "firstName",
        "text",
        "first name",
        "prénom",
        "firstname givenname prenom prenomcontact vorname namev nombrepila primernombre",
    ),
    _field(
        "lastName",
        "text",
        "last name",
        "nom de famille",
        "lastname surname familyname nomdefamille nachname familienname apellido apellidos",
    ),
    _EMAIL,
    _PHONE,
    _field(
        "role",
        "choice",
        "role",
        "rôle",
        "role function jobtitle title position contactrole pafkt fonction poste qualite funktion "
        "rolle cargo funcion puesto rol",
        max_length=100,
    ),
    _LANGUAGE,
    _COMPANY_CODE,
)

FIELDS: dict[str, tuple[Field, ...]] = {
    ITEMS: ITEM_FIELDS,
    ACCOUNTS: ACCOUNT_FIELDS,
    CONTACTS: CONTACT_FIELDS,
    **further_fields(
        account_number=_ACCOUNT_NUMBER,
        account_name=_ACCOUNT_NAME,
        currency=_CURRENCY,
        company_code=_COMPANY_CODE,
        registration=next(entry for entry in ACCOUNT_FIELDS if entry.name == "registrationNumber"),
    ),
}
FIELD_BY_NAME: dict[str, dict[str, Field]] = {
    kind: {field.name: field for field in fields} for kind, fields in FIELDS.items()
}

_KINDS: dict[str, str] = {
    "INVOICE": "dr rv rf fv rn re ri invoice inv in facture fact fac fc f rechnung rech "
    "ausgangsrechnung factura fra sales salesinvoice debitmemo debitnote dm dn accrec "
    "aropeninvoice notededebit lastschriftanzeige notadedebito i",
    "CREDIT_NOTE": "dg rg rk creditnote creditmemo credit cn cm crn c avoir av notedecredit "
    "gutschrift gu gs rechnungskorrektur storno abono notadecredito nc accreccredit "
    "arcredit salescreditmemo salescreditnote",
    "PAYMENT": "dz zp payment pay pmt p receipt cash cashreceipt paiement reglement regl rgt "
    "encaissement virement zahlung zahlungseingang ze pago cobro customerpayment rc "
    "bankreceipt unallocatedcash onaccount",
    "DOWN_PAYMENT": "da downpayment prepayment deposit advance acompte avance anzahlung vorauszahlung anticipo",
    "IN_TRANSIT": "dw directdebit billofexchange bill draft lcr traite prelevement lettredechange "
    "lastschrift wechsel letra efecto domiciliacion intransit",
    "BANK_CHARGE": "bankcharge bankcharges charge fraisbancaires frais bankgebuhren bankgebuhr "
    "gebuhr comisionbancaria gastosbancarios",
    "LATE_INTEREST": "lateinterest interest interets interetsderetard penalites mahngebuhr "
    "verzugszinsen zinsen interesesdemora lateinterestclaim dunningcharge",
    "OTHER_DEBIT": "otherdebit miscdebit odd autredebit sonstigesoll otrodebito",
    "OTHER_CREDIT": "othercredit misccredit odc autrecredit sonstigehaben otrocredito",
}
KIND_BY_WORD: dict[str, str] = {word: kind for kind, words in _KINDS.items() for word in words.split()}
CREDIT_KINDS = ("CREDIT_NOTE", "PAYMENT", "DOWN_PAYMENT", "OTHER_CREDIT")

DEBIT_WORDS = {"s", "d", "debit", "dr", "soll", "debe", "debito", "1", "+"}
CREDIT_WORDS = {"h", "c", "credit", "cr", "haben", "haber", "credito", "2", "-"}

_ROLES = {
    "ACCOUNTS_PAYABLE": "accountspayable ap payables accounting accounts accountant finance "
    "comptabilite comptable comptafournisseurs fournisseurs compta buchhaltung "
    "kreditorenbuchhaltung contabilidad cuentasporpagar tesoreria billing "
    "facturation invoicing treasury",
    "BUYER": "buyer purchasing procurement achats acheteur acheteuse einkauf einkaufer compras comprador orders",
    "MANAGEMENT": "management manager ceo cfo director managingdirector direction dirigeant gerant "
    "directeur daf geschaftsfuhrung geschaftsfuhrer leitung direccion gerente owner",
    "LEGAL": "legal lawyer juridique avocat recht rechtsabteilung juridico legaldepartment",
}
ROLE_BY_WORD: dict[str, str] = {word: role for role, words in _ROLES.items() for word in words.split()}
LANGUAGE_BY_WORD: dict[str, str] = {
    word: code
    for code, words in {
        "en": "en e eng english anglais englisch ingles engb enus",
        "fr": "fr f fra fre french francais franzosisch frances frfr",
        "de": "de d deu ger german allemand deutsch aleman dede",
        "es": "es s spa spanish espagnol spanisch espanol castellano eses",
    }.items()
    for word in words.split()
}
COUNTRY_BY_WORD: dict[str, str] = {
    word: code
    for code, words in {
        "FR": "france fra frankreich francia",
        "DE": "germany deu allemagne deutschland alemania d",
        "ES": "spain esp espagne spanien espana",
        "GB": "unitedkingdom gbr royaumeuni grossbritannien reinounido uk greatbritain england",
        "US": "unitedstates usa etatsunis vereinigtestaaten estadosunidos unitedstatesofamerica",
        "BE": "belgium bel belgique belgien belgica",
        "CH": "switzerland che suisse schweiz suiza",
        "IT": "italy ita italie italien italia",
        "NL": "netherlands nld paysbas niederlande paisesbajos",
        "PT": "portugal prt",
        "LU": "luxembourg lux luxemburg luxemburgo",
        "AT": "austria aut autriche osterreich",
        "CA": "canada can kanada",
        "PL": "poland pol pologne polen polonia",
        "IE": "ireland irl irlande irland irlanda",
        "SE": "sweden swe suede schweden suecia",
        "DK": "denmark dnk danemark danemark dinamarca",
        "NO": "norway nor norvege norwegen noruega",
        "FI": "finland fin finlande finnland",
        "CZ": "czechia cze tchequie tschechien chequia",
        "JP": "japan jpn japon",
        "CN": "china chn chine",
        "IN": "india ind inde indien",
    }.items()
    for word in words.split()
}
